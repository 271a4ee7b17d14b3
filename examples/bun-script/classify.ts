// What is in a picture: bun classify.ts ../images/cat.png
import { pipeline } from 'prismal'

const [picture] = Bun.argv.slice(2)
if (!picture) throw new Error('name a picture: bun classify.ts ../images/cat.png')

// Bytes, a path, a URL or a Blob: Bun.file is one.
const classify = await pipeline('image-classification', '@prismal/vit-cifar10')
for (const { label, score } of await classify(Bun.file(picture), { topk: 3 })) console.log(label, score.toFixed(3))
await classify.dispose()
