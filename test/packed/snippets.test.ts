/** The README's snippets for other runtimes than the repository's Node, by the packed packages. */
import { copyFileSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Snippet, snippetsOf, withChecks } from '../snippets/read.js'
import { shell } from './example-project.js'
import { inChromium, inFirefox, type Page } from './open-page.js'
import { install, PACKAGES, type PackageName, type Packed, pack, REPOSITORY } from './pack.js'
import { isThere, type Runtime } from './runtimes.js'
import { serveFolders } from './serve-folders.js'

const CAT = join(REPOSITORY, 'examples/images/cat.png')
const TOLD = fileURLToPath(new URL('../snippets/told.mjs', import.meta.url))

let packed: Packed
let project: string
beforeAll(() => {
  packed = pack()
  project = install(packed, Object.keys(PACKAGES) as PackageName[])
  copyFileSync(CAT, join(project, 'cat.png'))
  copyFileSync(TOLD, join(project, 'told.mjs'))
})
afterAll(() => packed?.remove())

/** Snippets that are to run somewhere. */
const forRuntime = (runtime: string): [string, Snippet][] =>
  snippetsOf('runtimes').filter(([, { about }]) => about.split(' ').includes(runtime))
/** A folder of the project's for one snippet. */
function folderFor([place]: [string, Snippet]): string {
  const folder = join(project, place.replace(/\W/g, '-'))
  mkdirSync(folder, { recursive: true })
  return folder
}

const PROCESSES: readonly (readonly [name: string, runtime: Runtime, command: string])[] = [
  ['node', 'Node 20', 'node classify.js'],
  ['deno', 'Deno', 'deno run --allow-read classify.js'],
  ['bun', 'Bun', 'bun classify.js'],
]
describe.each(PROCESSES)('%s', (name, runtime, command) => {
  it('is called so in the README', () => expect(readFileSync(join(REPOSITORY, 'README.md'), 'utf8')).toContain(command))

  it.skipIf(!isThere(runtime)).each(forRuntime(name))('runs %s', async (_, { text }) => {
    const { code, claims } = withChecks(text, './told.mjs')
    writeFileSync(join(project, 'classify.js'), code)
    const { code: status, err: said } = await shell(project, command).ended
    // Deno looks for workspaces in the folders above, too, which are not ours.
    const err = said.replace(/^Workspace member .* Skipping\.\n/gm, '')
    expect({ status, err, claims }).toEqual({ status: 0, err: '', claims: 1 })
  })
})

/** What a page's input and output are for. */
async function answers({ choose, told }: Page): Promise<void> {
  await choose(CAT)
  expect(await told(/\w/)).toBe('cat')
}

it.skipIf(!isThere('Chromium')).each(forRuntime('vite'))('%s runs once Vite has built it', async (...snippet) => {
  const root = folderFor(snippet)
  writeFileSync(join(root, 'main.js'), snippet[1].text)
  const html = '<!doctype html><input type="file"><output></output><script type="module" src="/main.js"></script>'
  writeFileSync(join(root, 'index.html'), html)
  await build({ root, base: './', logLevel: 'error' })
  const site = await serveFolders({ site: join(root, 'dist') })
  await inChromium(`${site.origin}/site/index.html`, answers)
  await site.close()
})

it.skipIf(!isThere('Firefox')).each(forRuntime('page'))('%s runs as it stands', async (...snippet) => {
  writeFileSync(join(project, 'index.html'), `<!doctype html>\n${snippet[1].text}`)
  const site = await serveFolders({ site: project })
  await inFirefox(`${site.origin}/site/index.html`, answers)
  await site.close()
})

it.skipIf(!isThere('workerd')).each(forRuntime('workerd'))('%s runs in workerd', async (...snippet) => {
  const folder = folderFor(snippet)
  const example = join(REPOSITORY, 'examples/cloudflare-worker')
  for (const name of ['build.js', 'config.capnp']) copyFileSync(join(example, name), join(folder, name))
  writeFileSync(join(folder, 'worker.js'), snippet[1].text)
  symlinkSync(join(REPOSITORY, 'node_modules/esbuild'), join(project, 'node_modules/esbuild'))
  // Its configuration names the assets so, in the folder itself.
  cpSync(join(project, 'node_modules/@prismal/vit-cifar10'), join(folder, 'node_modules/@prismal/vit-cifar10'), {
    recursive: true,
  })
  expect(await shell(folder, 'node build.js').ended).toMatchObject({ code: 0, err: '' })
  const server = shell(folder, 'workerd serve config.capnp --socket-addr=http=127.0.0.1:0 --control-fd=1')
  const [, port = ''] = await server.until(/"port":(\d+)/)
  const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: readFileSync(CAT) })
  expect(await response.json()).toMatchObject([{ label: 'cat', score: expect.closeTo(0.847, 3) }, {}, {}, {}, {}])
  await server.end()
})

it('every snippet for a runtime was run in each that it names', () => {
  const known = [...PROCESSES.map(([name]) => name), 'vite', 'page', 'workerd']
  const named = snippetsOf('runtimes').flatMap(([, { about }]) => about.split(' '))
  expect(new Set(named)).toEqual(new Set(known))
})
