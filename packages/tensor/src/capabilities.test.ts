/** What a runtime is found to be able to do: the same as what engines get. */
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { capabilities, createEngine } from '@prismal/tensor'
import { expect, it } from 'vitest'
import { runtimeName } from './runtime.js'

it('tells what an engine gets that is told nothing', async () => {
  const here = capabilities()
  const engine = await createEngine({ threads: 'auto' })
  const own = engine.capabilities()
  engine.dispose()
  expect(here.simd).toBe(own.simd)
  expect(here.threads).toBe(own.threads)
  expect(here.cores).toBe(availableParallelism())
  expect(here).toMatchObject({ webassembly: 'yes', workers: true })
  expect(here.runtime).toMatch(/^Node \d+\.\d+\.\d+ \(V8 \d+\.\d+\)$/)
  expect(here.lacks.map(l => l.about)).toEqual([
    ...(own.simd === 'relaxed' ? [] : ['simd']),
    ...(availableParallelism() === 1 ? ['threads'] : []),
  ])
})

it('says what a Node without WebAssembly lacks', () => {
  const script = `const { capabilities } = await import(process.argv[1]); console.log(JSON.stringify(capabilities()))`
  const built = new URL('../dist/index.js', import.meta.url).href
  const out = execFileSync(process.execPath, ['--jitless', '--input-type=module', '-e', script, built], {
    encoding: 'utf8',
  })
  const { webassembly, simd, threads, lacks } = JSON.parse(out) as ReturnType<typeof capabilities>
  expect({ webassembly, simd, threads }).toEqual({ webassembly: 'no', simd: 'none', threads: 1 })
  expect(lacks[0]).toMatchObject({ about: 'webassembly', what: expect.stringContaining('reference backend') })
})

it('says what a Node lacks whose permissions forbid workers', () => {
  const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'
  const script = `import(${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)})
    .then(({ capabilities }) => console.log(JSON.stringify(capabilities())))`
  const found = (...flags: string[]): ReturnType<typeof capabilities> =>
    JSON.parse(
      execFileSync(process.execPath, [flag, '--no-warnings', '--allow-fs-read=*', ...flags, '-e', script], {
        encoding: 'utf8',
      }),
    )
  const advice = 'start it with --allow-worker'
  expect(found()).toMatchObject({ workers: false, threads: 1 })
  expect(found().lacks.filter(lack => lack.advice === advice)).toEqual([
    { about: 'threads', what: expect.stringContaining('permissions of this process forbid workers'), advice },
    { about: 'workers', what: expect.stringContaining('share this thread'), advice },
  ])
  expect(found('--allow-worker')).toEqual(capabilities())
})

it.each([
  [{ process: { versions: { node: '24.3.0', v8: '13.6.233.10-node.18' } } }, 'Node 24.3.0 (V8 13.6)'],
  [{ process: { versions: { node: '24.3.0', bun: '1.4.5', v8: '12.4' } } }, 'Bun 1.4.5'],
  [{ process: { versions: { node: '22.5.0', deno: '2.9.6' } }, navigator: { userAgent: 'Deno/2.9.6' } }, 'Deno 2.9.6'],
  [{ navigator: { userAgent: 'Deno/2.9.6' } }, 'Deno 2.9.6'],
  [{ process: { versions: { node: '22.5.0' } }, navigator: { userAgent: 'Cloudflare-Workers' } }, 'workerd'],
  [
    { navigator: { userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' } },
    'Firefox 140.0',
  ],
  [
    {
      navigator: {
        userAgent:
          'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36',
      },
    },
    'Chromium 146.0.0.0',
  ],
  [
    {
      navigator: {
        userAgent: 'Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15',
      },
    },
    'Safari 26.1',
  ],
  [{}, 'an unknown runtime'],
])('names a runtime: %j', (globals, name) => {
  expect(runtimeName(globals)).toBe(name)
})
