// What is in a picture: deno run --allow-read classify.ts ../images/cat.png
import { pipeline } from 'prismal'

const [picture] = Deno.args
if (!picture) throw new Error('name a picture: classify.ts ../images/cat.png')

const classify = await pipeline('image-classification', '@prismal/vit-cifar10')
for (const { label, score } of await classify(picture, { topk: 3 })) console.log(label, score.toFixed(3))
await classify.dispose()
