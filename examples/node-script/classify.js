// What is in a picture: node classify.js ../images/cat.png
import { pipeline } from 'prismal'

const [picture] = process.argv.slice(2)
if (!picture) throw new Error('name a picture: node classify.js ../images/cat.png')

// A folder, a URL or an installed package. Loading takes longer than an answer: load once, ask often.
const classify = await pipeline('image-classification', '@prismal/vit-cifar10')
for (const { label, score } of await classify(picture, { topk: 3 })) console.log(label, score.toFixed(3))
await classify.dispose() // gives the memory back
