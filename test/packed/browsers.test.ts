/** The packed packages in pages of Chromium and Firefox, without a bundler: what every runtime checks, and what only pages have. */
import { createHash } from 'node:crypto'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type * as Prismal from 'prismal'
import type * as PrismalHost from 'prismal/host'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sharedFolder } from '../shared-folder.js'
import { disagreements } from './bits.js'
import type { CheckResult } from './check.js'
import { expectFirstAnswer, FIRST_ANSWER_S } from './first-answer.js'
import { foundBy } from './found.js'
import { install, pack, REPOSITORY, withDependencies } from './pack.js'
import { INSECURE_HOST, installedBrowsers, launch, type OpenBrowser } from './pages.js'
import { copyScripts, runForJson } from './processes.js'
import { type Column, type Found, record } from './results.js'
import { ISOLATED, openSite, type Site, STRICT } from './site.js'

const reference = sharedFolder('reference')
const samples = sharedFolder('data/sample-images')

/** For pages of any origin, as of a content delivery network. */
const ANYONE = { 'access-control-allow-origin': '*' }

interface Failure {
  readonly name: string
  readonly code: string
  readonly message: string
}
interface Classified {
  readonly label: { readonly label: string; readonly score: number }
  readonly capabilities: {
    readonly build: string
    readonly threads: number
    readonly worker: boolean
    readonly reasons: readonly string[]
  }
}

/** Six lines: the first thing that anybody writes. */
const FIRST = `<!doctype html>
<script type="module">
  import { pipeline } from '/node_modules/@prismal/browser/dist/index.js'
  const classify = await pipeline('image-classification', '/node_modules/@prismal/vit-cifar10')
  const [best] = await classify('/images/coffee.png')
  const { build } = classify.capabilities()
  await fetch('/answer', { method: 'POST', body: JSON.stringify({ build, label: best.label }) })
  await classify.dispose()
</script>
`

/** A script for pages: what it imports by a package's name, it imports from the files for pages. */
function importRelatively(path: string): void {
  const script = readFileSync(path, 'utf8')
  writeFileSync(path, script.replace(/"@prismal\/(\w+)"/g, '"../node_modules/@prismal/browser/dist/$1.js"'))
}

describe.skipIf(!reference || !samples)('pages', () => {
  let project: string
  let remove: () => void
  let inNode: CheckResult
  let installSeconds: number
  const sites: Site[] = []

  /** A site with the packages and these headers. */
  const site = async (headers: Readonly<Record<string, string>> = {}): Promise<Site> => {
    const opened = await openSite(
      {
        node_modules: join(project, 'node_modules'),
        scripts: join(project, 'page-scripts'),
        browsers: fileURLToPath(new URL('browsers', import.meta.url)),
        reference: reference as string,
        images: samples as string,
      },
      headers,
    )
    sites.push(opened)
    return opened
  }

  beforeAll(async () => {
    const packed = pack()
    remove = packed.remove
    const started = performance.now()
    project = install(packed, [...withDependencies('prismal'), '@prismal/browser', '@prismal/vit-cifar10'])
    installSeconds = (performance.now() - started) / 1000
    copyScripts(project, 'check', 'scripts/check-folders')
    copyScripts(join(project, 'page-scripts'), 'check')
    importRelatively(join(project, 'page-scripts/check.js'))
    const [, page] = /```html \S+\n(.*?)```/s.exec(readFileSync(join(REPOSITORY, 'docs/browsers.md'), 'utf8')) ?? []
    writeFileSync(join(project, 'page-scripts/shown.html'), page as string)
    writeFileSync(join(project, 'page-scripts/first.html'), FIRST)
    const folders = ['vit-square', 'bert-classify', 'gpt2'].map(name => join(reference as string, name))
    cpSync(join(project, 'node_modules/@prismal/vit-cifar10'), join(project, 'vit-cifar10'), { recursive: true })
    inNode = await runForJson('Node 24', ['scripts/check-folders.js', ...folders, join(project, 'vit-cifar10')], {
      cwd: project,
    })
  })
  afterAll(async () => {
    await Promise.all(sites.map(each => each.close()))
    remove?.()
  })

  describe.each(installedBrowsers())('of %s', name => {
    let browser: OpenBrowser
    const no: Found = { works: false }
    /** What the table says of this browser. */
    const row: { -readonly [C in Column]: Found } = {
      ...{ simd: no, relaxedSimd: no, threads: no, messagePort: no, coordinator: no, images: no },
      worker: { works: false, note: 'a page cannot listen' },
    }
    /** What a page without anything special answers. */
    let usual: Classified
    beforeAll(async () => {
      browser = await launch(name)
      usual = await ask<Classified>(site(), 'alone')
    })
    afterAll(async () => {
      // Not what a part of this suite has seen.
      if (Object.values(row).every(found => found !== no)) record({ runtime: name, version: browser.version, ...row })
      await browser?.close()
    })
    const ask = async <T>(where: Site | Promise<Site>, page: string): Promise<T> =>
      (await browser.ask(await where, `/browsers/page.html?case=${page}`)) as T

    it('give the golden answers, alone, on threads and shared, with the bits of Node', async () => {
      const found = await ask<CheckResult>(site(ISOLATED), 'checked')
      expect(found.results?.filter(r => r.failure)).toEqual([])
      const [there, here] = [inNode, found].map((of, i) =>
        of.results.map(result => ({ ...result, runtime: i ? name : 'Node 24' })),
      )
      expect(disagreements([...(there ?? []), ...(here ?? [])])).toEqual([])
      expect(new Set(found.results.map(r => r.model)).size).toBe(4)
      const ways = new Set(found.results.map(r => r.way))
      expect(ways).toEqual(new Set(['alone', 'threads', 'memory', 'message-port']))
      if (name === 'Chromium')
        expect(found.results[0]?.numericsClass, 'its engine is V8, as is Node').toBe(inNode.results[0]?.numericsClass)
      Object.assign(row, foundBy(found), { threads: { works: true, note: 'in isolated pages' } })
    })

    it(`classify an image by six lines within ${FIRST_ANSWER_S} s from an empty folder on`, async () => {
      const here = await site()
      const started = performance.now()
      const another = await launch(name)
      try {
        const { build, label } = (await another.ask(here, '/scripts/first.html')) as { build: string; label: string }
        expectFirstAnswer(name, installSeconds, (performance.now() - started) / 1000)
        expect(build).toBe(usual.capabilities.build)
        expect(label).toBeTypeOf('string')
      } finally {
        await another.close()
      }
    })

    it('do what the documentation shows', async () => {
      expect(await ask<string>(site(), 'shown')).toMatch(/^\w+, and by two devices: \w+$/)
    })

    it('share with a device of another process', async () => {
      const { host } = (await import(join(project, 'node_modules/prismal/dist/host.js'))) as typeof PrismalHost
      const here = await site()
      const device = await host({
        model: join(project, 'vit-cifar10'),
        listen: ['ws://127.0.0.1:0'],
        allowedOrigins: [here.origin],
      })
      try {
        const page = `coordinated&device=${device.addresses[0]}`
        const { label, alone } = await ask<Record<string, Classified['label']>>(here, page)
        expect(label?.label).toBe(alone?.label)
        row.coordinator = { works: true }
      } finally {
        await device.close()
      }
    })

    it('compute in workers, and by devices in workers, under a strict policy', async () => {
      const here = await site({ 'content-security-policy': STRICT })
      const { alone, inWorker, shared } = await ask<Record<string, Classified>>(here, 'together')
      expect(inWorker).toMatchObject({ label: alone?.label, capabilities: { worker: true } })
      expect(shared?.label.label).toBe(alone?.label.label)
    })

    it('start workers themselves where they want to', async () => {
      interface Own {
        readonly shared: Classified
        readonly inWorker: Classified
        readonly started: readonly string[]
      }
      const { shared, inWorker, started } = await ask<Own>(site(), 'ownWorkers')
      expect(shared.label.label).toBe(usual.label.label)
      expect(inWorker).toMatchObject({ label: usual.label, capabilities: { worker: true } })
      expect(started).toEqual(['worker-thread', 'pipeline-worker'])
    })

    it('have threads where they are isolated, and say why not where not', async () => {
      interface Threads {
        readonly auto: Classified
        readonly two: Failure & { readonly value: Classified }
      }
      const isolated = await ask<Threads>(site(ISOLATED), 'threads')
      expect(isolated.two.value.capabilities.threads).toBe(2)
      const plain = await ask<Threads>(site(), 'threads')
      const why = 'memory cannot be shared: this page is not cross-origin isolated'
      expect(plain.auto.capabilities.reasons).toContain(`threads: one, as ${why}`)
      expect(plain.two).toMatchObject({ code: 'unavailable', message: `threads: 2 were asked for, but ${why}` })
      expect(plain.auto.label).toEqual(isolated.two.value.label)
      expect(usual.label).toEqual(plain.auto.label)
    })

    it('do the same where they came by plain HTTP, without WebCrypto', async () => {
      const here = await site()
      const plain = { ...here, origin: here.origin.replace('127.0.0.1', INSECURE_HOST) }
      const { isSecure, alone, shared } = await ask<{ isSecure: boolean; alone: Classified; shared: Classified }>(
        plain,
        'plainHttp',
      )
      expect(isSecure).toBe(false)
      expect(alone).toEqual(usual)
      expect(shared.label.label).toBe(usual.label.label)
    })

    it.each(['worker', 'frame'])('do the same in a %s', async where => {
      const found = await ask<Record<string, Classified>>(site(), `together&in=${where}`)
      expect(found.alone).toEqual(usual)
      expect(found.inWorker).toMatchObject({ label: found.alone?.label, capabilities: { worker: true } })
      expect(found.shared?.label.label).toBe(found.alone?.label.label)
    })

    it('compute in a service worker, by the one device that it has', async () => {
      interface Single {
        readonly alone: Classified
        readonly inWorker: Classified
        readonly shared: Failure
      }
      const { alone, inWorker, shared } = await ask<Single>(site(), 'single&in=service-worker')
      expect(alone).toEqual(usual)
      expect(inWorker.label).toEqual(usual.label)
      expect(inWorker.capabilities.reasons).toContain('worker: none, as this runtime has no workers')
      expect(shared).toMatchObject({
        code: 'device-failed',
        message: expect.stringMatching(/^helper could not join: .*no workers$/),
      })
    })

    it('say that a policy forbids WebAssembly, and compute by the reference backend when asked', async () => {
      const here = await site({ 'content-security-policy': "default-src 'self'" })
      const found = await ask<{ auto: Failure; reference: Classified }>(here, 'reference')
      expect(found.auto).toMatchObject({ code: 'unavailable', message: expect.stringMatching(/'wasm-unsafe-eval'/) })
      expect(found.reference.capabilities.build).toBe('reference')
      const { auto } = await ask<{ auto: Failure & { value: Classified } }>(site(), 'reference')
      expect(found.reference.label.label).toBe(auto.value.label.label)
    })

    it('say that a worker cannot be had', async () => {
      const refused = await site({ 'content-security-policy': `${STRICT}; worker-src 'none'` })
      for (const [where, page] of [
        [refused, 'refusedWorkers'],
        [await site(), 'lostScripts'],
      ] as const) {
        const found = await ask<{ shared: Failure; inWorker: Failure }>(where, page)
        expect(found.shared).toMatchObject({
          code: 'device-failed',
          message: expect.stringMatching(/^helper could not join: /),
        })
        expect(found.inWorker).toMatchObject({
          code: 'worker-failed',
          message: expect.stringMatching(/could not be loaded/),
        })
      }
    })

    describe('with the packages on another origin, or with none of its own', () => {
      interface Elsewhere {
        readonly alone: Classified
        readonly inWorker: Classified
        readonly shared: Failure
      }
      const why = { another: /is of another origin; name one of this page's own/, none: /frame is opaque/ }

      it.each(['another', 'none'] as const)('compute without workers, and say so: %s', async origin => {
        const elsewhere = await site(ANYONE)
        const found = await (origin === 'another'
          ? ask<Elsewhere>(site(), `elsewhere&from=${elsewhere.origin}`)
          : ask<Elsewhere>(elsewhere, 'elsewhere&in=sandbox'))
        expect(found.alone).toEqual(usual)
        expect(found.inWorker).toMatchObject({ label: usual.label, capabilities: { worker: false } })
        expect(found.inWorker.capabilities.reasons.join()).toMatch(why[origin])
        expect(found.shared).toMatchObject({ code: 'device-failed', message: expect.stringMatching(why[origin]) })
      })

      it('have workers by scripts of their own that import them', async () => {
        const { origin } = await site(ANYONE)
        for (const script of ['pipeline-worker', 'worker-thread'])
          writeFileSync(
            join(project, `page-scripts/${script}.js`),
            `import '${origin}/node_modules/@prismal/browser/dist/${script}.js'\n`,
          )
        const found = await ask<Record<string, Classified>>(site(), `fromElsewhere&from=${origin}`)
        expect(found.inWorker).toMatchObject({ label: usual.label, capabilities: { worker: true } })
        expect(found.shared?.label.label).toBe(usual.label.label)
      })
    })

    it('hear of a device that dies', async () => {
      const found = await ask<Record<string, Failure>>(site(), 'dyingDevices')
      for (const how of ['thrown', 'rejected'])
        expect(found[how]).toMatchObject({
          code: 'device-failed',
          message: expect.stringMatching(/it threw .*planted/),
        })
    })

    it('fall back to the reference backend without SIMD, and say so', async () => {
      const { auto, asked } = await ask<{ auto: Classified; asked: Failure }>(site(), 'withoutSimd')
      expect(auto.capabilities.build).toBe('reference')
      expect(auto.capabilities.reasons.join()).toMatch(/without SIMD, so the slow reference backend runs/)
      expect(asked).toMatchObject({ code: 'unavailable', message: expect.stringMatching(/without SIMD/) })
    })

    it('say that memory cannot grow', async () => {
      expect(await ask<Failure>(site(), 'withoutMemory')).toMatchObject({
        code: 'out-of-memory',
        message: expect.stringMatching(/this runtime refused to grow from \d+ to \d+ bytes/),
      })
    })

    it('read images by the platform, however they are given, under a strict policy', async () => {
      interface Images {
        readonly found: Readonly<Record<string, object>>
        readonly jpeg: readonly number[]
        readonly labels: { readonly here: object; readonly worker: object }
        readonly text: Failure
        readonly missing: Failure
      }
      const here = await site({ 'content-security-policy': STRICT })
      const images = await ask<Images>(here, 'images')
      const { decodeImage } = (await import(join(project, 'node_modules/prismal/dist/index.js'))) as typeof Prismal
      const png = await decodeImage(readFileSync(join(samples as string, 'coffee.png')))
      const digest = createHash('sha256').update(png.data).digest('hex')
      for (const [given, found] of Object.entries(images.found))
        expect(found, given).toEqual({ width: png.width, height: png.height, digest })
      expect(Object.keys(images.found)).toHaveLength(10)
      const jpeg = await decodeImage(readFileSync(join(samples as string, 'rocket.jpg')))
      const errors = images.jpeg.map((value, i) => Math.abs(value - (jpeg.data[i] as number)))
      expect(Math.max(...errors)).toBeLessThanOrEqual(2)
      expect(images.labels.here).toEqual(images.labels.worker)
      expect(images.text).toMatchObject({ name: 'InputError', message: expect.stringMatching(/^notes.txt is not an/) })
      row.images = { works: true, note: "the browser's formats" }
      expect(images.missing).toMatchObject({ name: 'InputError', message: expect.stringMatching(/: HTTP 404$/) })
    })
  })
})
