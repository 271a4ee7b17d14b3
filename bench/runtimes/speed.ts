/** A matrix product and a ViT in every runtime, by the same files, taking turns. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installedBrowsers, launch, type OpenBrowser } from '../../test/packed/pages.js'
import { PROCESS_RUNTIMES, runForJson } from '../../test/packed/processes.js'
import { isThere, type Runtime } from '../../test/packed/runtimes.js'
import { openSite, type Site } from '../../test/packed/site.js'
import { type RunningWorker, startWorkerd } from '../../test/packed/workerd.js'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const FILES = here('../../packages/browser/dist/')
const MODEL = here('../../models/vit-cifar10')
const CACHE = here('../.cache/')

/** Register tiles that are tried beside what a browser gets. */
const TILES = [4, 5, 6]

/** Milliseconds a call. */
export interface Speeds {
  readonly gemm: number
  readonly vit: number
}

/** The turns of each runtime, and of each browser with other tiles; one turn a round. */
export type SpeedFindings = ReadonlyMap<string, readonly Speeds[]>

/** Throws where a runtime fails; one that is not installed is left out. */
export async function runtimeSpeeds(rounds: number): Promise<SpeedFindings> {
  const site = await openSite({ files: FILES, model: MODEL, pages: here('.') })
  const browsers = new Map<Runtime, OpenBrowser>()
  let worker: RunningWorker | undefined
  try {
    const contestants = new Map<string, () => Promise<Speeds>>()
    for (const name of PROCESS_RUNTIMES.filter(isThere))
      contestants.set(name, () => runForJson<Speeds>(name, ['in-process.js', FILES, MODEL], { cwd: here('.') }))
    for (const name of installedBrowsers()) {
      const browser = await launch(name)
      browsers.set(name, browser)
      contestants.set(name, () => inPage(browser, site, ''))
      for (const rows of TILES)
        contestants.set(`${name}, tiles of ${rows}`, () => inPage(browser, site, `?tile=${rows}`))
    }
    if (isThere('workerd')) {
      const running = await startSpeedWorker()
      worker = running
      contestants.set('workerd', () => inWorkerd(running))
    }
    const found = new Map<string, Speeds[]>([...contestants.keys()].map(name => [name, []]))
    for (let round = 0; round < rounds; round++) {
      const order = [...contestants]
      // Every other round backwards: a machine that gets slower is so for each of them.
      if (round % 2) order.reverse()
      for (const [name, measure] of order) found.get(name)?.push(await measure())
    }
    return found
  } finally {
    for (const browser of browsers.values()) await browser.close()
    await worker?.stop()
    await site.close()
  }
}

async function inPage(browser: OpenBrowser, site: Site, search: string): Promise<Speeds> {
  const found = (await browser.ask(site, `/pages/page.html${search}`)) as Speeds & { readonly failed?: string }
  if (found.failed !== undefined) throw new Error(found.failed)
  return found
}

const SPEED_WORKER = `import * as models from '@prismal/models'
import * as tensor from '@prismal/tensor'
import config from 'config.bin'
import weights from 'weights.bin'
import * as subjects from '../../runtimes/calls.js'
const files = models.memoryFiles({ 'config.json': config, 'model.safetensors': weights })
export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url)
    const { call, end } = await subjects[searchParams.get('what')]({ tensor, models }, undefined, files)
    for (let left = Number(searchParams.get('calls')); left > 0; left--) await call()
    end()
    return new Response()
  },
}
`

/** Its bundle lies in a folder of the cache while it runs. */
async function startSpeedWorker(): Promise<RunningWorker> {
  mkdirSync(CACHE, { recursive: true })
  const project = mkdtempSync(join(CACHE, 'workerd-'))
  const data = { 'config.bin': join(MODEL, 'config.json'), 'weights.bin': join(MODEL, 'model.safetensors') }
  const running = await startWorkerd({ project, script: SPEED_WORKER, data })
  const stop = () => running.stop().finally(() => rmSync(project, { recursive: true, force: true }))
  return { ...running, stop }
}

/** Calls of a request, and requests of a turn. */
const [CALLS, REQUESTS] = [60, 3]

/** workerd's clock stands while it computes: requests with calls are timed from here, less such without any. */
async function inWorkerd({ url, output }: RunningWorker): Promise<Speeds> {
  const fastest = async (what: string, calls: number): Promise<number> => {
    let best = Number.POSITIVE_INFINITY
    for (let request = 0; request < REQUESTS; request++) {
      const started = performance.now()
      const response = await fetch(`${url}?what=${what}&calls=${calls}`)
      await response.arrayBuffer()
      if (!response.ok) throw new Error(output())
      best = Math.min(best, performance.now() - started)
    }
    return best
  }
  const each = async (what: keyof Speeds): Promise<number> => {
    // What runs often is compiled better.
    await fastest(what, CALLS)
    return ((await fastest(what, CALLS)) - (await fastest(what, 0))) / CALLS
  }
  return { gemm: await each('gemm'), vit: await each('vit') }
}
