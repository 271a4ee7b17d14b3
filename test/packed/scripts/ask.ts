/** A coordinator: classifies an image together with the device at an address, and prints the answer as JSON. */
import { pipeline } from 'prismal'
import { cluster, remote } from 'prismal/distribute'

const [, , model = '', image = '', ...addresses] = process.argv
// A device of another numerics class is taken, and said.
const devices = cluster(['local', remote(addresses, { mixed: true })], { strategy: 'full' })
const classify = await pipeline('image-classification', model, { devices })
const { output, report } = await classify.withReport(image)
console.log(JSON.stringify({ output, report }))
await classify.dispose()
