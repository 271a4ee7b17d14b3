/** What is timed in each runtime: a matrix product and a whole ViT. JavaScript for pages, processes and workerd alike. */
const [M, K, N] = [197, 768, 768]

const wave = length => Float32Array.from({ length }, (_, i) => Math.sin(i) / 8)

/** `tileRows`: instead of what this runtime gets. */
async function engineOf({ createEngine }, tileRows) {
  const engine = await createEngine()
  return tileRows === undefined ? engine : Object.assign(engine, { tileRows })
}

/** A product that can be called again and again; `tensor`: the module of that name. */
export async function gemm({ tensor }, tileRows) {
  const { linear, pack } = tensor
  const engine = await engineOf(tensor, tileRows)
  const matrix = pack(engine.root, engine.tensor(wave(K * N), [K, N]), 'in,out')
  const x = engine.tensor(wave(M * K), [M, K])
  const out = engine.root.empty([M, N])
  return { call: () => void linear(x, matrix, { out }), end: () => engine.dispose() }
}

/** A ViT on one image; `files`: of vit-cifar10. */
export async function vit({ tensor, models }, tileRows, files) {
  const { aloneRunner, loadModel, patchify } = models
  const model = await loadModel(files, { engine: await engineOf(tensor, tileRows), warn: () => {} })
  const { imageSize: size, channels } = model.shape
  const part = patchify(wave(channels * size ** 2), model.shape)
  const runner = aloneRunner(model)
  const call = async () => {
    const request = runner.begin()
    await request.rows([part], 'first')
    request.end()
  }
  return { call, end: () => model.dispose() }
}
