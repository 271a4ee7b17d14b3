/**
 * Times a matrix product and a whole ViT in whatever runs this: JavaScript for browsers and Node alike, by the files for
 * pages, which import each other by relative paths.
 */

/** How long each thing is run before it is timed, and then timed, in ms. */
const [WARM_MS, TIMED_MS] = [700, 700]
const [M, K, N] = [197, 768, 768]

/** The fastest of the turns, in ms a call; engines compile what runs often better and later, and a page has but this moment. */
async function fastest(call) {
  const warm = performance.now() + WARM_MS
  while (performance.now() < warm) await call()
  let best = Number.POSITIVE_INFINITY
  const end = performance.now() + TIMED_MS
  while (performance.now() < end) {
    // Clocks of pages are coarse: a turn is long beside their step.
    const started = performance.now()
    let calls = 0
    do {
      await call()
      calls++
    } while (performance.now() - started < 25)
    best = Math.min(best, (performance.now() - started) / calls)
  }
  return best
}

/** `files`: where the files for pages are; `model`: where vit-cifar10 is. `tileRows`: instead of what this runtime gets. */
export async function speeds(files, model, tileRows) {
  const { createEngine, linear, pack } = await import(`${files}tensor.js`)
  const { aloneRunner, loadModel, openFiles, patchify } = await import(`${files}models.js`)
  const engineOf = async () => {
    const engine = await createEngine()
    return tileRows === undefined ? engine : Object.assign(engine, { tileRows })
  }
  const wave = length => Float32Array.from({ length }, (_, i) => Math.sin(i) / 8)
  const engine = await engineOf()
  const matrix = pack(engine.root, engine.tensor(wave(K * N), [K, N]), 'in,out')
  const x = engine.tensor(wave(M * K), [M, K])
  const out = engine.root.empty([M, N])
  const gemm = await fastest(() => void linear(x, matrix, { out }))
  engine.dispose()

  const vit = await loadModel(await openFiles(model), { engine: await engineOf(), warn: () => {} })
  const { imageSize: size, channels } = vit.shape
  const part = patchify(wave(channels * size ** 2), vit.shape)
  const runner = aloneRunner(vit)
  const whole = await fastest(async () => {
    const request = runner.begin()
    await request.rows([part], 'first')
    request.end()
  })
  vit.dispose()
  return { gemm, vit: whole }
}
