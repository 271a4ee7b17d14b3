/** The packed packages after Vite, esbuild, webpack and Rollup: what their bundles hold, and that they run in a page. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build as esbuild } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sharedFolder } from '../shared-folder.js'
import { BUNDLERS } from './bundling.js'
import { install, pack, REPOSITORY, run, withDependencies } from './pack.js'
import { launch, type OpenBrowser } from './pages.js'
import { isThere } from './runtimes.js'
import { openSite, type Site, STRICT } from './site.js'

const samples = sharedFolder('data/sample-images')

/** What a page's policy or its runtime would refuse, by why. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  "a module of Node's": new RegExp(
    `(?:\\bfrom|\\bimport|\\brequire)\\s*\\(?\\s*["'\`](?:node:[\\w/]+|${builtinModules.filter(m => /^\w+$/.test(m)).join('|')})["'\`]`,
  ),
  'code made from text': /\beval\s*\(|\bnew\s+Function\s*\(|(?<![.\w])Function\s*\(\s*["'`]/,
  'a worker made from text': /createObjectURL|new\s+Worker\s*\(\s*["'`](?:data|blob):/,
  'a path of the machine that bundled it': /file:\/\/\/\w|\/prismal-packed-/,
}

/** How webpack's runtime finds the global object where there is no `globalThis`: it never gets that far. */
const WEBPACKS_OWN =
  /if\("object"==typeof globalThis\)return globalThis;try\{return this\|\|new Function\("return this"\)\(\)\}/

describe.skipIf(!samples || !isThere('Chromium'))('bundled', () => {
  let project: string
  let remove: () => void
  let browser: OpenBrowser
  let site: Site
  let strict: Site

  beforeAll(async () => {
    const packed = pack()
    remove = packed.remove
    project = install(packed, [...withDependencies('prismal'), '@prismal/browser', '@prismal/vit-cifar10'])
    for (const app of ['bundled.js', 'model-package.js'])
      cpSync(fileURLToPath(new URL(`browsers/${app}`, import.meta.url)), join(project, app))
    browser = await launch('Chromium')
    const folders = {
      ...{ node_modules: join(project, 'node_modules'), images: samples as string },
      bundles: join(project, 'bundles'),
    }
    site = await openSite(folders)
    strict = await openSite(folders, { 'content-security-policy': STRICT })
  })
  afterAll(async () => {
    await browser?.close()
    await site?.close()
    await strict?.close()
    remove?.()
  })

  it.each(Object.entries(BUNDLERS))('by %s, an application runs in a page', async (name, bundle) => {
    const out = join(project, 'bundles', name)
    expect(await bundle({ project, out, app: 'bundled.js' })).toEqual([])

    const scripts = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.js'))
    const refused = scripts.flatMap(file => {
      const script = readFileSync(join(out, file), 'utf8').replace(WEBPACKS_OWN, '')
      return Object.entries(REFUSED).flatMap(([what, pattern]) => {
        const at = pattern.exec(script)
        return at ? [`${file} has ${what}: ${script.slice(at.index - 60, at.index + 100)}`] : []
      })
    })
    expect(refused).toEqual([])
    expect(scripts.length).toBeGreaterThan(2)

    interface Found {
      readonly best: { readonly label: string; readonly score: number }
      readonly capabilities: { readonly build: string; readonly worker: boolean }
    }
    const found = (await browser.ask(site, `/bundles/${name}/index.html`)) as Record<string, Found>
    expect(found).not.toHaveProperty('failed')
    expect(found.alone?.capabilities).toMatchObject({ build: 'relaxed-simd', worker: false })
    expect(found.worker).toMatchObject({ best: found.alone?.best, capabilities: { worker: true } })
    expect(found.threads?.best).toEqual(found.alone?.best)
    expect(found.devices?.best.label).toBe(found.alone?.best.label)
  })

  it('a worker loads nothing later, which no script of one file can', async () => {
    for (const script of [
      'prismal/dist/pipeline-worker.js',
      '@prismal/distribute/dist/worker-thread.js',
      '@prismal/tensor/dist/thread.js',
    ]) {
      const { metafile } = await esbuild({
        entryPoints: [join(project, 'node_modules', script)],
        ...({ bundle: true, write: false, format: 'esm', splitting: true, metafile: true } as const),
        outdir: join(project, 'nowhere'),
      })
      const later = Object.entries(metafile.inputs).flatMap(([from, { imports }]) =>
        imports.filter(({ kind }) => kind === 'dynamic-import').map(({ path }) => `${from} → ${path}`),
      )
      expect(later).toEqual([])
    }
  })

  it('a program of one file runs in Node, with the kernels and the decoders beside it', async () => {
    const program = `import { pipeline } from 'prismal'
      const classify = await pipeline('image-classification', process.argv[2])
      console.log((await classify(process.argv[3]))[0].label)`
    const modules = join(project, 'node_modules')
    // Nothing of the project is found from there.
    const elsewhere = mkdtempSync(join(tmpdir(), 'prismal-one-file-'))
    try {
      const stdin = { contents: program, resolveDir: project }
      const outfile = join(elsewhere, 'program.mjs')
      await esbuild({ stdin, bundle: true, platform: 'node', format: 'esm', outfile })
      cpSync(join(modules, '@prismal/tensor/dist'), elsewhere, {
        recursive: true,
        filter: path => !/\.(js|ts|map)$|src$|kernels$/.test(path),
      })
      cpSync(join(modules, 'prismal/dist/codecs'), join(elsewhere, 'codecs'), { recursive: true })
      const args = ['program.mjs', join(modules, '@prismal/vit-cifar10'), join(REPOSITORY, 'examples/images/cat.png')]
      expect(run(process.execPath, args, elsewhere)).toBe('cat\n')
    } finally {
      rmSync(elsewhere, { recursive: true })
    }
  })

  it('by webpack, a program for Node is built', async () => {
    const out = join(project, 'bundles', 'webpack for Node')
    expect(await BUNDLERS.webpack?.({ project, out, app: 'bundled.js', target: 'node' })).toEqual([])
  })

  // The others leave a package's addresses as they are.
  it.each(['Vite', 'Vite 5', 'webpack'])("by %s, a model's package comes along, under a strict policy", async name => {
    const out = join(project, 'bundles', `package of ${name}`)
    await BUNDLERS[name]?.({ project, out, app: 'model-package.js' })
    const found = (await browser.ask(strict, `/bundles/package of ${name}/index.html`)) as Record<string, string>
    const { alone } = found
    expect(found).toEqual({ alone: expect.any(String), worker: alone, devices: alone })
  })
})
