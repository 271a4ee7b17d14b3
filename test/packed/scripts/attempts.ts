/**
 * Asks for much where something may be missing, and prints what came of each attempt as JSON. Arguments: a model's folder, a
 * wasm file of another version, a global to take away first as if the runtime had none (or nothing), and names of attempts.
 */
const [, , model = '', other = '', hidden = '', ...names] = process.argv
if (hidden) delete (globalThis as Record<string, unknown>)[hidden]
const { createEngine } = await import('@prismal/tensor')
const { pipeline } = await import('prismal')
const { cluster, thread } = await import('prismal/distribute')

/** What came of it: a result, or a typed error. */
async function attempt(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return await work()
  } catch (error) {
    const { name, code, message } = error as Error & { code?: string }
    return { name, code, message }
  }
}
const engine = (options: object) => () =>
  createEngine(options).then(engine => {
    const { build, threads, reasons } = engine.capabilities()
    engine.dispose()
    return { build, threads, reasons }
  })
const answer = (options: object) => async () => {
  const classify = await pipeline('image-classification', model, options)
  try {
    const [best] = await classify({ width: 32, height: 32, data: new Uint8Array(3072) })
    const { build, worker, reasons } = classify.capabilities()
    return { label: best?.label, build, worker, reasons }
  } finally {
    await classify.dispose()
  }
}
const missing = new URL('./no-such-thread.js', import.meta.url)

const attempts = {
  one: answer({}),
  limited: answer({ memoryLimitBytes: 1_000_000 }),
  worker: answer({ worker: true }),
  noWorkerScript: answer({ worker: true, workerScript: missing }),
  noDeviceScript: answer({ devices: cluster(['local', thread({ script: missing })]) }),
  two: engine({ threads: 2 }),
  auto: engine({ threads: 'auto' }),
  noScript: engine({ threads: 2, threadScript: missing }),
  autoNoScript: engine({ threads: 'auto', threadScript: missing }),
  otherVersion: engine({ module: other }),
  noFile: engine({ module: `${other}.missing` }),
}
export type Attempt = keyof typeof attempts

const results: Record<string, unknown> = {}
for (const name of names as Attempt[]) results[name] = await attempt(attempts[name])
console.log(JSON.stringify(results))
process.exit()
