/** A matrix product and a ViT in pages of Chromium and Firefox beside the same files in Node 24, taking turns. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { installedBrowsers, launch, type OpenBrowser } from '../test/packed/pages.js'
import { isThere, RUNTIMES } from '../test/packed/runtimes.js'
import { openSite, type Site } from '../test/packed/site.js'
import { ratio, summary } from './measure.js'
import { bar, type Row } from './report.js'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const FILES = here('../packages/browser/dist/')
const MODEL = here('../models/vit-cifar10')

/** What V8 must reach of Node 24's speed. */
const LEAST_OF_NODE = 0.85
/** Register tiles that are tried beside what a browser gets. */
const TILES = [4, 6]

/** Milliseconds a call. */
interface Speeds {
  readonly gemm: number
  readonly vit: number
}
const NAMES = { gemm: 'f32 matrix product 197×768×768', vit: 'vit-cifar10, one image' } as const

/** Rounds in which each contestant has one turn. Throws where one fails. */
export async function benchPages(rounds: number): Promise<Row[]> {
  if (!isThere('Node 24')) throw new Error(`Node 24 is not at ${RUNTIMES['Node 24']}`)
  const site = await openSite({ files: FILES, model: MODEL, pages: here('pages') })
  const browsers = new Map<string, OpenBrowser>()
  try {
    for (const name of installedBrowsers()) browsers.set(name, await launch(name))
    const contestants = new Map<string, () => Promise<Speeds>>([['Node 24', inNode]])
    for (const [name, browser] of browsers) {
      contestants.set(name, () => inPage(browser, site, ''))
      for (const rows of TILES)
        contestants.set(`${name}, tiles of ${rows}`, () => inPage(browser, site, `?tile=${rows}`))
    }
    const found = new Map<string, Speeds[]>([...contestants.keys()].map(name => [name, []]))
    for (let round = 0; round < rounds; round++) {
      const order = [...contestants]
      // Every other round backwards: a machine that gets slower is so for each of them.
      if (round % 2) order.reverse()
      for (const [name, measure] of order) found.get(name)?.push(await measure())
    }
    return rowsOf(found)
  } finally {
    for (const browser of browsers.values()) await browser.close()
    await site.close()
  }
}

async function inNode(): Promise<Speeds> {
  const { stdout } = await promisify(execFile)(RUNTIMES['Node 24'], [here('pages/in-node.js'), FILES, MODEL])
  return JSON.parse(stdout)
}

async function inPage(browser: OpenBrowser, site: Site, search: string): Promise<Speeds> {
  const found = (await browser.ask(site, `/pages/page.html${search}`)) as Speeds & { readonly failed?: string }
  if (found.failed !== undefined) throw new Error(found.failed)
  return found
}

function rowsOf(found: ReadonlyMap<string, readonly Speeds[]>): Row[] {
  const nodes = found.get('Node 24') ?? []
  return (['gemm', 'vit'] as const).flatMap(what =>
    [...found].map(([variant, speeds]): Row => {
      const milliseconds = summary(speeds.map(s => s[what]))
      const row = { suite: 'pages', name: NAMES[what], variant, milliseconds }
      if (variant === 'Node 24') return row
      const factor = ratio(
        nodes.map(n => n[what]),
        speeds.map(s => s[what]),
      )
      const times = { factor, than: 'Node 24' }
      return variant === 'Chromium'
        ? { ...row, times, bar: bar(factor.median, LEAST_OF_NODE, `at least ${LEAST_OF_NODE}× Node 24`) }
        : { ...row, times }
    }),
  )
}
