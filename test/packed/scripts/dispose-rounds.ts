/** Loads a model for some threads, asks it and disposes it, as often as told; prints the process' resident bytes after each round as JSON. */
import { pipeline } from 'prismal'

const [, , model = '', rounds = '1', threads = '1'] = process.argv
/** Collects garbage: a wasm memory that nobody holds is given back then, and a test cannot wait for whenever that is. */
const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } }
const collect = gc ?? (() => Bun?.gc(true))

const resident: number[] = []
for (let round = 0; round < Number(rounds); round++) {
  const classify = await pipeline('image-classification', model, { threads: Number(threads) })
  await classify({ width: 32, height: 32, data: new Uint8Array(3072) })
  await classify.dispose()
  // What finalizers free, they free in a turn of their own.
  for (let turn = 0; turn < 2; turn++) {
    collect()
    await new Promise(resolve => setTimeout(resolve))
  }
  resident.push(process.memoryUsage().rss)
}
console.log(JSON.stringify(resident))
