/** Every example, installed from the packed tarballs and run by the commands of its README. */
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Running } from '../prismal-command.js'
import { commandsOf, dependenciesOf, EXAMPLES, installExamples, shell, sourcesOf } from './example-project.js'
import { inChromium, inFirefox, type Page } from './open-page.js'
import { PACKAGES, type PackageName, type Packed, pack, REPOSITORY } from './pack.js'
import { isThere, type Runtime } from './runtimes.js'

const CAT = [
  { label: 'cat', score: expect.closeTo(0.847, 3) },
  { label: 'horse', score: expect.closeTo(0.026, 3) },
  { label: 'airplane', score: expect.closeTo(0.022, 3) },
]
const CAT_LINES = 'cat 0.847\nhorse 0.026\nairplane 0.022\n'

let packed: Packed
let project: string
beforeAll(() => {
  packed = pack()
  project = installExamples(packed)
})
afterAll(() => packed?.remove())

/** Commands of READMEs that were run. */
const seen = new Set<string>()
/** Starts the command of an example's README that is or contains `words`, with `changes` (ports that are free, addresses that came of them). */
function command(
  example: string,
  words: string,
  changes: Readonly<Record<string, string>> = {},
  node?: Runtime,
): Running {
  const all = commandsOf(example)
  const found = all.filter(line => line === words || (line.includes(words) && !all.includes(words)))
  expect(found, `${example}/README.md: ${words}`).toHaveLength(1)
  const [line = ''] = found
  seen.add(`${example}: ${line}`)
  const changed = Object.entries(changes).reduce((text, [from, to]) => text.replaceAll(from, to), line)
  return shell(join(project, example), changed, node)
}
/** What it wrote by its end, which is a good one. */
async function output(running: Running): Promise<string> {
  const { code, out, err } = await running.ended
  expect({ code, err }, out).toEqual({ code: 0, err: '' })
  return out
}
/** Ends it as `kill` does, which is a good end too. */
async function ends(running: Running): Promise<void> {
  const { code, err } = await running.end('SIGTERM')
  expect({ code, err }).toEqual({ code: 0, err: '' })
}

describe.each(EXAMPLES)('%s', example => {
  it('asks for what it imports, and for our versions as they are', () => {
    const asked = dependenciesOf(example)
    for (const [file, source] of sourcesOf(example))
      for (const [, name = ''] of source.matchAll(/(?:from|import) '(?!node:)((?:@[\w.-]+\/)?\w[\w.-]*)[^']*'/g))
        expect(Object.keys(asked), file).toContain(name)
    for (const [name, version] of Object.entries(asked))
      if (name in PACKAGES) {
        const manifest = join(REPOSITORY, PACKAGES[name as PackageName], 'package.json')
        expect(`${name}@${version}`).toBe(`${name}@${JSON.parse(readFileSync(manifest, 'utf8')).version}`)
      }
    expect(commandsOf(example)[0]).toMatch(/^(npm|bun) install$/)
  })

  it('is short', () => {
    for (const [file, source] of sourcesOf(example))
      if (!file.includes('transport')) expect(source.split('\n').length, file).toBeLessThanOrEqual(70)
  })
})

describe.skipIf(!isThere('Node 20'))('in Node', () => {
  it('node-script classifies', async () => {
    expect(await output(command('node-script', 'classify.js'))).toBe(CAT_LINES)
  })

  it('node-script generates the same text for the same seed', async () => {
    const run = () => output(command('node-script', 'generate.js'))
    const text = await run()
    expect(text).toMatch(/^And it came to pass, .{100,}\n$/)
    expect(await run()).toBe(text)
  })

  it('tensor-engine multiplies and attends', async () => {
    expect(await output(command('tensor-engine', 'matmul.js'))).toMatch(
      /^(relaxed-)?simd, 1 thread[\s\S]*Float32Array\(4\) \[ 4, 5, 10, 11 \]\ninvalid-operand matmul: inner dimensions differ/,
    )
    const [, difference] =
      /^largest difference (\S+)$/m.exec(await output(command('tensor-engine', 'attention.js'))) ?? []
    expect(Number(difference)).toBeLessThan(1e-6)
  })

  it('two-processes share one inference', async () => {
    const worker = command('two-processes', 'worker.js', { 'PORT=7040': 'PORT=0' })
    const [, address = ''] = await worker.until(/^listening at (ws:\S+)$/m)
    const out = await output(command('two-processes', 'ask.js', { 'ws://127.0.0.1:7040': address }))
    expect(out).toMatch(/^cat 0\.8\d\d\n/)
    const received = [...out.matchAll(/^device (\S+): (\d+) rows, \d+ MF, (\d+) bytes received$/gm)]
    expect(received.map(([, device, rows]) => [device, rows])).toEqual([
      ['local', '33'],
      [address, '32'],
    ])
    for (const [, , , bytes] of received) expect(Number(bytes)).toBeGreaterThan(1000)
    await ends(worker)
  })
})

it.skipIf(!isThere('Node 22'))('own-transport carries a request', async () => {
  const out = await output(command('own-transport', 'share.ts', {}, 'Node 22'))
  expect(out).toMatch(/^listening at (tcp:\S+)\ncat 0\.8\d\d\n[\s\S]*^device \1: 32 rows, \d{4,} bytes received$/m)
})

it.skipIf(!isThere('Deno'))('deno-script classifies', async () => {
  expect(await output(command('deno-script', 'classify.ts'))).toBe(CAT_LINES)
})

it.skipIf(!isThere('Bun'))('bun-script classifies', async () => {
  expect(await output(command('bun-script', 'classify.ts'))).toBe(CAT_LINES)
})

describe.skipIf(!isThere('Node 20')).each(['hono-route', 'express-route'])('%s', example => {
  it('answers, refuses, and lets go of who leaves', async () => {
    const server = command(example, 'server.js', { 'PORT=3000': 'PORT=0' })
    const [, origin = ''] = await server.until(/^listening at (http:\S+)$/m)
    const asked = await output(command(example, 'curl', { 'curl ': 'curl -sS ', 'http://localhost:3000': origin }))
    expect(JSON.parse(asked)).toEqual(CAT)

    const url = `${origin}/labels`
    const post = async (body: BodyInit | null): Promise<unknown[]> => {
      const response = await fetch(url, { method: 'POST', body })
      return [response.status, await response.json()]
    }
    expect(await post('hello')).toEqual([400, { error: expect.stringMatching(/is not an image .*68 65 6c 6c/) }])
    expect(await post(null)).toEqual([400, { error: expect.stringMatching(/is not an image .*empty/) }])
    expect(await post(new Uint8Array(9 * 2 ** 20))).toEqual([413, { error: expect.any(String) }])

    // Forty pictures take longer than it takes to leave.
    const body = readFileSync(join(project, 'images/cat.png'))
    const leaving = Array.from({ length: 40 }, () =>
      request(url, { method: 'POST', agent: false }).on('error', () => {}),
    )
    await Promise.all(leaving.map(each => once(each.end(body), 'finish')))
    for (const each of leaving) each.destroy()
    await server.until(/^a client left, and its computation ended$/m)
    expect(await post(body)).toEqual([200, CAT])
    await ends(server)
  })
})

it.skipIf(!isThere('workerd'))('cloudflare-worker answers in workerd, from a small bundle', async () => {
  const example = 'cloudflare-worker'
  await output(command(example, 'build.js'))
  const dist = join(project, example, 'dist')
  const bundle = readdirSync(dist).map(name => gzipSync(readFileSync(join(dist, name))).length)
  expect(bundle.reduce((sum, bytes) => sum + bytes)).toBeLessThan(2 ** 20)

  const server = command(example, 'workerd', { '127.0.0.1:8787': '127.0.0.1:0 --control-fd=1' })
  const [, port = ''] = await server.until(/"port":(\d+)/)
  const url = `http://127.0.0.1:${port}`
  const asked = await output(command(example, 'curl', { 'curl ': 'curl -sS ', 'http://127.0.0.1:8787': url }))
  expect(JSON.parse(asked)).toEqual(CAT)
  const refused = await fetch(url, { method: 'POST', body: 'hello' })
  expect([refused.status, await refused.json()]).toEqual([
    400,
    { error: expect.stringMatching(/is not an image .*68 65 6c 6c/) },
  ])
  await ends(server)
})

it.skipIf(!isThere('Node 24'))('cloudflare-worker answers in the server of its own tools', async () => {
  const example = 'cloudflare-worker'
  const server = command(example, 'wrangler', { 8787: '0 --ip 127.0.0.1' }, 'Node 24')
  const [, url = ''] = await server.until(/Ready on (http:\S+)/)
  const asked = await output(command(example, 'curl', { 'curl ': 'curl -sS ', 'http://127.0.0.1:8787': url }))
  expect(JSON.parse(asked)).toEqual(CAT)
  await server.end('SIGTERM')
})

/** What the pages have in common: a file chooser, and an `output` that tells. */
async function answers({ choose, told }: Page): Promise<void> {
  expect(await told(/^ready$/)).toBe('ready')
  await choose(join(project, 'images/cat.png'))
  expect(await told(/\d/)).toBe('cat 0.847, horse 0.026, airplane 0.022')
  await choose(join(project, 'package.json'))
  expect(await told(/not/)).toMatch(/is not an image/)
}
/** Starts what serves a page; its address. */
async function serving(example: string, words: string, changes?: Readonly<Record<string, string>>) {
  const server = command(example, words, changes)
  const [url = ''] = await server.until(/http:\/\/localhost:\d+/)
  return { server, url }
}

describe.skipIf(!isThere('Chromium'))('in Chromium', () => {
  it('page-without-bundler classifies', async () => {
    const { server, url } = await serving('page-without-bundler', 'sirv', { '8000': '0' })
    await inChromium(url, answers)
    await server.end()
  })

  it('page-with-vite classifies while it is worked on', async () => {
    const { server, url } = await serving('page-with-vite', 'npx vite')
    await inChromium(url, answers)
    await server.end()
  })

  it('react-hook classifies, and ends its worker when it is unmounted', async () => {
    await output(command('react-hook', 'tsc'))
    const { server, url } = await serving('react-hook', 'npx vite')
    await inChromium(url, async page => {
      await answers(page)
      expect(page.workers()).toBe(1) // StrictMode mounts twice
      await page.press('Close')
      await expect.poll(page.workers).toBe(0)
      await page.press('Open')
      await answers(page)
    })
    await server.end()
  })
})

describe.skipIf(!isThere('Firefox'))('in Firefox', () => {
  it('page-with-vite classifies once it is built', async () => {
    const built = await command('page-with-vite', 'vite build').ended
    expect(built.code, built.err).toBe(0)
    const { server, url } = await serving('page-with-vite', 'vite preview')
    await inFirefox(url, answers)
    await server.end()
  })
})

it('every command of their READMEs was run', () => {
  const all = EXAMPLES.flatMap(example => commandsOf(example).map(line => `${example}: ${line}`))
  expect(all.filter(line => !/ (npm|bun) install$/.test(line) && !seen.has(line))).toEqual([])
})
