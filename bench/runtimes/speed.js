/** Times what `calls.js` has in a runtime whose clock goes on while it computes, by the files for pages, which import each other by relative paths. */
import { gemm, vit } from './calls.js'

/** How long each thing is run before it is timed, and then timed, in ms. */
const [WARM_MS, TIMED_MS] = [700, 700]

/** The fastest of the turns, in ms a call; engines compile what runs often better and later, and a page has but this moment. */
async function fastest({ call, end }) {
  const warm = performance.now() + WARM_MS
  while (performance.now() < warm) await call()
  let best = Number.POSITIVE_INFINITY
  const last = performance.now() + TIMED_MS
  while (performance.now() < last) {
    // Clocks of pages are coarse: a turn is long beside their step.
    const started = performance.now()
    let calls = 0
    do {
      await call()
      calls++
    } while (performance.now() - started < 25)
    best = Math.min(best, (performance.now() - started) / calls)
  }
  end()
  return best
}

/** `files`: where the files for pages are; `model`: where vit-cifar10 is. `tileRows`: instead of what this runtime gets. */
export async function speeds(files, model, tileRows) {
  const [tensor, models] = [await import(`${files}tensor.js`), await import(`${files}models.js`)]
  return {
    gemm: await fastest(await gemm({ tensor }, tileRows)),
    vit: await fastest(await vit({ tensor, models }, tileRows, await models.openFiles(model))),
  }
}
