/**
 * What every page checks, and Node for comparison: three models against golden results, and answers of the trained ones,
 * alone and shared by two devices over message ports. JavaScript, since browsers run it as it is.
 */

/** A picture that is the same everywhere: waves of three lengths. */
export const picture = () => {
  const [width, height] = [48, 40]
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3]
    return (x * (5 + c) + y * (3 + 2 * c) + ((x * y) >> 3)) & 255
  })
  return { width, height, data }
}

/**
 * `where` has the locations of the models: `golden` (folders), `vit` and `gpt2`. `share`: whether devices in workers take part.
 * Gives what was computed, to be compared with another runtime's, and which numerics class it is of.
 */
export async function check({ prismal, distribute, tensor }, where, { share = true, golden = where.golden } = {}) {
  const failures = []
  const results = []
  const [build] = tensor.availableBuilds()
  for (const folder of golden) {
    const options = { builds: [build], precisions: ['f32'], threads: [1], ways: share ? ['message-port'] : [] }
    for await (const { way, name, worst, values, failure } of prismal.verifyFolder(folder, options)) {
      if (failure) failures.push(`${folder} ${way} ${name}: ${failure}`)
      results.push([folder.split('/').at(-1), way, name, worst, values])
    }
  }
  const classify = await prismal.pipeline('image-classification', where.vit)
  const generate = await prismal.pipeline('text-generation', where.gpt2)
  const numericsClass = classify.runner.model.engine.numericsClass()
  const capabilities = classify.capabilities()
  const answers = {
    label: await classify(picture()),
    text: await generate('And it came to pass', { max_new_tokens: 8 }),
  }
  await classify.dispose()
  await generate.dispose()
  if (share) answers.shared = await shared({ prismal, distribute }, where.vit)
  return { failures, results, answers, numericsClass, capabilities }
}

/** Labels that two devices in workers of their own give, beside this thread's. */
export async function shared({ prismal, distribute }, vit, options = {}) {
  const { cluster, thread } = distribute
  const devices = cluster(['local', thread({ name: 'first', ...options }), thread({ name: 'second', ...options })])
  const together = await prismal.pipeline('image-classification', vit, { devices })
  try {
    const { output, report } = await together.withReport(picture())
    return { output, devices: report.devices.length }
  } finally {
    await together.dispose()
  }
}
