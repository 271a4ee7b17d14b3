/** The playground as it is built, in both browsers: what it computes and shows, and that everyone can use it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cost, createPlan, type SharingOptions } from '@prismal/distribute'
import { loadTokenizer, shapeOf } from '@prismal/models'
import { folderFiles } from '@prismal/models/node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { REPOSITORY } from './pack.js'
import { PICTURES } from './playground/pictures.js'
import { type Served, serveBuiltPage } from './playground/served.js'
import { inChromium, inFirefox, type TracingVisitor, type Visit, type Visitor } from './playground/visitors.js'
import { isThere } from './runtimes.js'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PHONE = { width: 320, height: 640 }
const CAT = join(REPOSITORY, 'examples/images/cat.png')
/** ViT: 8 × 8 patches of a picture, and CLS. */
const VIT_ROWS = 65

let served: Served
/** Screenshots and made-up files; kept where PLAYGROUND_SCREENSHOTS names a folder. */
const kept = process.env.PLAYGROUND_SCREENSHOTS
const folder = kept ?? mkdtempSync(join(tmpdir(), 'prismal-visits-'))

beforeAll(async () => {
  served = await serveBuiltPage()
})
afterAll(async () => {
  await served?.close()
  if (!kept) rmSync(folder, { recursive: true, force: true })
})

/** What is said in the open view, by a role. */
const said = (role: string): string =>
  `[...document.querySelectorAll('[role=${role}]')].filter(e => e.checkVisibility()).map(e => e.textContent).join(' ')`
const hears = (visit: Visit, words: RegExp, role = 'status'): Promise<void> =>
  visit.until(`${words}.test(${said(role)})`)
const isReady = (visit: Visit): Promise<void> => hears(visit, /^Ready/)

/** The rows of the table of this title in the open view: names, and figures as they are shown. */
const shown = (visit: Visit, title: string): Promise<{ name: string; figures: string[] }[]> =>
  visit.evaluate(`[...document.querySelectorAll('table')]
    .filter(t => t.checkVisibility() && t.querySelector('th').textContent === ${JSON.stringify(title)})
    .flatMap(t => [...t.tBodies[0].rows].map(row => ({
      name: row.cells[0].textContent,
      figures: [...row.querySelectorAll('.figure')].map(cell => cell.textContent),
    })))`)
const bytesShown = async (visit: Visit): Promise<number[]> =>
  (await shown(visit, 'Received')).map(({ figures: [bytes = ''] }) => Number(bytes.replaceAll(',', '')))

/** What the plan says that each device receives. */
function planned(model: string, rows: number, devices: number, options: SharingOptions, decodes = false): number[] {
  const shape = shapeOf(JSON.parse(readFileSync(join(REPOSITORY, 'models', model, 'config.json'), 'utf8')))
  const plan = createPlan({ shape, rows: [rows], want: decodes ? 'last' : 'first', devices, decodes }, options)
  return cost(plan, shape).map(device => device.bytesReceived)
}

/** What axe finds, as one line an element. */
const axeFinds = async (visit: Visit): Promise<string[]> => {
  await visit.evaluate(`${AXE}; undefined`)
  return visit.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.flatMap(v => v.nodes.map(n => v.id + ': ' + n.target + ' ' + n.failureSummary)))`)
}
/** Milliseconds from the start of navigation until the model was there: a first picture would then be answered. */
const readyAfter = (visit: Visit): Promise<number> =>
  visit.evaluate(`performance.getEntriesByName('ready')[0].startTime`)
const READY_MS = 2000
const overflow = (visit: Visit): Promise<number> =>
  visit.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
/** A bar as long shows a fiftieth as more than a pixel. */
const READABLE_PX = 64
const narrowestBar = (visit: Visit): Promise<number> =>
  visit.evaluate(`Math.min(...[...document.querySelectorAll('.bar')]
    .filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().width))`)
/** What a view's results show, tables and texts, whether or not it is open. */
const shownIn = (visit: Visit, view: 'picture' | 'text'): Promise<string> =>
  visit.evaluate(`(e => e.hidden ? '' : e.textContent)(document.querySelector('#${view}-results .answer'))`)
/** Whether the page takes a drag over its prompt, and marks where to drop, as a script; `fill` fills `dataTransfer`. */
const isTaken = (type: string, fill: string): string => `(() => {
  const dataTransfer = new DataTransfer()
  ${fill}
  const event = new DragEvent('${type}', { dataTransfer, bubbles: true, cancelable: true })
  document.querySelector('#prompt').dispatchEvent(event)
  return [event.defaultPrevented, document.documentElement.classList.contains('dragging')]
})()`

describe.each([
  ['Chromium', inChromium],
  ['Firefox', inFirefox],
] as const)('the playground in %s', (name, start) => {
  if (!isThere(name)) return it.skip(`${name} is missing`)
  let browser: Visitor
  let visit: Visit
  beforeAll(async () => {
    browser = await start()
    visit = await browser.visit(served.address)
  })
  afterAll(async () => {
    await visit?.close()
    await browser?.close()
  })

  it('is not cross-origin isolated, and has its policy', async () => {
    expect(await visit.evaluate('[self.crossOriginIsolated, self.isSecureContext]')).toEqual([false, true])
    expect(await visit.evaluate(`document.querySelector('meta[http-equiv]').content`)).toMatch(
      /^default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; img-src 'self' blob: data:$/,
    )
  })

  it('classifies a chosen picture alone and by two devices, with the bytes of the plan', async () => {
    await isReady(visit)
    await visit.give('#file', CAT)
    await hears(visit, /^Cat\. Two devices give the same label as one\./)
    const [cat] = await shown(visit, 'How likely')
    expect(cat?.name).toBe('cat')
    expect(cat?.figures).toHaveLength(2)
    for (const figure of cat?.figures ?? []) expect(Number.parseFloat(figure)).toBeGreaterThan(50)
    const means = planned('vit-cifar10', VIT_ROWS, 2, { compressionRate: 2 })
    const full = planned('vit-cifar10', VIT_ROWS, 2, { strategy: 'full' })
    expect(await bytesShown(visit)).toEqual(means)
    const note = await visit.evaluate<string>(`document.querySelector('#picture-results .note').textContent`)
    expect(note).toContain(`would be ${Math.max(...full).toLocaleString('en')} bytes`)
    expect(note).toContain('just what the plan foretold')
    const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
    expect(await visit.evaluate(said('status'))).toContain(
      `${((100 * sum(means)) / sum(full)).toFixed(1)} % of the bytes`,
    )
  })

  it('classifies by three and four devices, and in every way', async () => {
    await visit.click('#devices label:nth-child(2)')
    await hears(visit, /^Cat\. Three devices/)
    expect(await bytesShown(visit)).toEqual(planned('vit-cifar10', VIT_ROWS, 3, { compressionRate: 2 }))
    await visit.click('#strategies label:nth-child(2)')
    await hears(visit, /Three devices give the same label as one.*less than 0.01 points/)
    expect(await bytesShown(visit)).toEqual(planned('vit-cifar10', VIT_ROWS, 3, { strategy: 'full' }))
    await visit.click('#strategies label:nth-child(3)')
    await visit.click('#devices label:nth-child(3)')
    await hears(visit, /Four devices/)
    expect(await bytesShown(visit)).toEqual([0, 0, 0, 0])
    await visit.click('#strategies label:nth-child(1)')
    await visit.click('#devices label:nth-child(1)')
    await hears(visit, /Two devices/)
  })

  it('continues a text alone and by two devices, its model loaded before all eyes', async () => {
    await visit.click('#tab-text')
    await visit.evaluate(`globalThis.progress = []; new MutationObserver(() =>
      progress.push(document.querySelector('#text-results .loading').textContent))
      .observe(document.querySelector('#text-results .loading'), { subtree: true, childList: true, attributes: true }); 0`)
    await visit.click('#continue')
    await hears(visit, /^Two devices give (the same|another) next word/)
    const texts = await visit.evaluate<string[]>(
      `[...document.querySelectorAll('.continuation p')].map(p => p.textContent)`,
    )
    expect(texts).toHaveLength(2)
    for (const text of texts) expect(text.trim().split(/\s+/).length).toBeGreaterThan(20)
    const next = await shown(visit, 'Next token')
    expect(next.map(({ figures }) => figures.length)).toEqual([2, 2, 2, 2, 2])
    expect(await visit.evaluate('progress.join()')).toMatch(/Loading the model: \d.* of 14\.2 MB/)
    const tokenizer = await loadTokenizer(await folderFiles(join(REPOSITORY, 'models/gpt2-chronicle')))
    const rows = tokenizer?.encode(await visit.evaluate<string>(`document.querySelector('#prompt').value`)).to as number
    expect(await bytesShown(visit)).toEqual(planned('gpt2-chronicle', rows, 2, { compressionRate: 2 }, true))
  })

  it('stops writing when it is told to', async () => {
    await visit.click('#continue')
    await hears(visit, /writes …$/)
    await visit.click('#stop')
    await hears(visit, /^Stopped\.$/)
    expect(await visit.evaluate(`document.querySelector('#stop').disabled`)).toBe(true)
    await visit.click('#continue')
    await hears(visit, /^Two devices give/)
  })

  it('answers anew in the view that is opened after devices share otherwise', async () => {
    await visit.click('#devices label:nth-child(2)')
    await hears(visit, /^Three devices/)
    await visit.click('#tab-picture')
    await hears(visit, /^Cat\. Three devices/)
    await visit.click('#devices label:nth-child(1)')
    await hears(visit, /^Cat\. Two devices/)
    await visit.click('#tab-text')
    await hears(visit, /^Two devices/)
    const answer = await shownIn(visit, 'picture')
    await visit.click('#tab-picture')
    expect(await visit.evaluate(said('status'))).toMatch(/^Cat\. Two devices/)
    expect(await shownIn(visit, 'picture')).toBe(answer)
    await visit.click('#tab-text')
  })

  it('shows no answer beside the word that there is no text', async () => {
    const prompt = await visit.evaluate<string>(`document.querySelector('#prompt').value`)
    await visit.evaluate(`document.querySelector('#prompt').value = ''`)
    await visit.click('#devices label:nth-child(3)')
    await hears(visit, /no text to continue/, 'alert')
    expect(await shownIn(visit, 'text')).toBe('')
    await visit.evaluate(`document.querySelector('#prompt').value = ${JSON.stringify(prompt)}`)
    await visit.click('#devices label:nth-child(1)')
    await visit.click('#continue')
    await hears(visit, /^Two devices give/)
  })

  it('writes from right to left what is written so', async () => {
    const other = await browser.visit(`${served.address}#text`)
    try {
      const directions = `[...document.querySelectorAll('#prompt, .continuation p, .answers tbody th')]
        .map(e => getComputedStyle(e).direction)`
      await other.evaluate(`document.querySelector('#prompt').value = 'بسم الله'; 0`)
      expect(await other.evaluate(directions)).toEqual(['rtl'])
      await other.click('#continue')
      await hears(other, /^Two devices give/)
      await other.evaluate(`for (const e of document.querySelectorAll('.continuation p, .answers tbody th'))
        e.textContent = 'שלום'`)
      expect(new Set(await other.evaluate<string[]>(directions))).toEqual(new Set(['rtl']))
      await other.screenshot(join(folder, `${name}-right-to-left.png`))
    } finally {
      await other.close()
    }
  })

  it('offers to choose files of just the formats that it reads', async () => {
    const unread = await visit.evaluate<string[]>(`(async () => {
      const offered = document.querySelector('#file').accept.split(',')
      const made = ${JSON.stringify(PICTURES)}
      const isRead = async type => {
        const drawn = new OffscreenCanvas(2, 2)
        drawn.getContext('2d')
        const written = await drawn.convertToBlob({ type })
        const bytes = Uint8Array.from(atob(made[type] ?? ''), letter => letter.charCodeAt(0))
        const picture = written.type === type ? written : new Blob([bytes])
        return createImageBitmap(picture).then(bitmap => bitmap.width > 0, () => false)
      }
      const read = await Promise.all(offered.map(isRead))
      return offered.filter((_, i) => !read[i])
    })()`)
    expect(unread).toEqual([])
  })

  it('leaves drags that carry no files to the browser', async () => {
    const text = `dataTransfer.setData('text/plain', 'aground')`
    const file = `dataTransfer.items.add(new File(['aground'], 'notes.txt'))`
    for (const type of ['dragover', 'drop']) expect(await visit.evaluate(isTaken(type, text))).toEqual([false, false])
    expect(await visit.evaluate(isTaken('dragover', file))).toEqual([true, true])
    await visit.evaluate(`document.documentElement.classList.remove('dragging')`)
  })

  it('threw nothing, and loaded nothing that its policy forbids', async () => {
    expect(visit.errors).toEqual([])
    expect(await visit.evaluate('forbidden')).toEqual([])
    await visit.screenshot(join(folder, `${name}-text.png`))
    await visit.click('#tab-picture')
    await visit.screenshot(join(folder, `${name}-picture.png`))
  })

  it('fits a phone of 320 pixels in both views, with bars that can be read', async () => {
    const phone = await browser.visit(served.address, PHONE)
    try {
      await isReady(phone)
      await phone.click('.samples button')
      await hears(phone, /Two devices/)
      expect(await overflow(phone)).toBe(0)
      expect(await narrowestBar(phone)).toBeGreaterThan(READABLE_PX)
      await phone.screenshot(join(folder, `${name}-picture-phone.png`))
      await phone.click('#tab-text')
      await phone.click('#continue')
      await hears(phone, /Two devices/)
      expect(await overflow(phone)).toBe(0)
      expect(await narrowestBar(phone)).toBeGreaterThan(READABLE_PX)
      await phone.screenshot(join(folder, `${name}-text-phone.png`))
    } finally {
      await phone.close()
    }
  })

  it('says in words what is wrong', async () => {
    const other = await browser.visit(served.address)
    try {
      await isReady(other)
      const notes = join(folder, 'notes.txt')
      writeFileSync(notes, 'These are notes.')
      await other.give('#file', notes)
      await hears(other, /^notes\.txt is not an image/, 'alert')
      const preview = `document.querySelector('.preview').checkVisibility()`
      expect(await other.evaluate(preview)).toBe(false)
      await other.give('#file', CAT)
      await hears(other, /^Cat\./)
      expect(await other.evaluate(said('alert'))).toBe('')
      expect(await other.evaluate(preview)).toBe(true)
      const drawing = join(folder, 'drawing.svg')
      writeFileSync(
        drawing,
        '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"><path d="M0 0h9v9z"/></svg>',
      )
      await other.give('#file', drawing)
      await hears(other, /^drawing\.svg is an SVG, .* PNG/, 'alert')
      expect(await other.evaluate(preview)).toBe(false)
      expect(await shownIn(other, 'picture')).toBe('')
      await other.click('#devices label:nth-child(2)')
      expect(await other.evaluate(said('alert'))).toMatch(/^drawing\.svg/)
      await other.click('#devices label:nth-child(1)')
      await other.click('#tab-text')
      await other.evaluate(`document.querySelector('#prompt').value = ' '`)
      await other.click('#continue')
      await hears(other, /no text to continue/, 'alert')
      served.withheld = /^models\//
      await other.evaluate(`document.querySelector('#prompt').value = 'And it came to pass'`)
      await other.click('#continue')
      await hears(other, /gpt2-chronicle has no tokenizer\.json/, 'alert')
      const third = await browser.visit(served.address)
      await hears(third, /The model could not be loaded: .*vit-cifar10 has no config\.json/, 'alert')
      served.withheld = undefined
      await third.click('.samples button')
      await hears(third, /^Cat\./)
      await third.close()
      await other.click('#continue')
      await hears(other, /^Two devices give/)
    } finally {
      served.withheld = undefined
      await other.close()
    }
  })
})

describe('the playground', () => {
  let browser: TracingVisitor
  if (!isThere('Chromium')) return it.skip('Chromium is missing')
  beforeAll(async () => {
    browser = await inChromium()
  })
  afterAll(() => browser?.close())

  it.each(['light', 'dark'] as const)('has nothing for axe to find in either %s view', async scheme => {
    const visit = await browser.visit(served.address, undefined, scheme)
    try {
      await isReady(visit)
      expect(await axeFinds(visit)).toEqual([])
      await visit.click('.samples button')
      await hears(visit, /Two devices/)
      expect(await axeFinds(visit)).toEqual([])
      await visit.screenshot(join(folder, `Chromium-picture-${scheme}.png`))
      await visit.click('#tab-text')
      await visit.click('#continue')
      await hears(visit, /Two devices/)
      expect(await axeFinds(visit)).toEqual([])
      await visit.screenshot(join(folder, `Chromium-text-${scheme}.png`))
      await visit.evaluate(`document.querySelector('#prompt').value = ''`)
      await visit.click('#continue')
      await hears(visit, /no text/, 'alert')
      expect(await axeFinds(visit)).toEqual([])
    } finally {
      await visit.close()
    }
  })

  it('is used by the keyboard alone, and shows where that is', async () => {
    const visit = await browser.visit(served.address)
    const focused = (): Promise<string> =>
      visit.evaluate(`(e => e.id || e.getAttribute('aria-label') || e.value || e.textContent || e.firstChild?.alt || '')
        (document.activeElement)`)
    /** Where the focus is, once it is seen to be there. */
    const next = async (key = 'Tab'): Promise<string> => {
      await visit.press(key)
      const outline = await visit.evaluate<string>(`(e => getComputedStyle(e.type === 'radio' ? e.nextSibling : e)
        .outlineStyle)(document.activeElement)`)
      expect(outline, await focused()).toBe('solid')
      return focused()
    }
    try {
      await isReady(visit)
      expect(await next()).toBe('tab-picture')
      expect(await next('ArrowRight')).toBe('tab-text')
      expect(await next('ArrowLeft')).toBe('tab-picture')
      expect(await next()).toBe('choose')
      await next()
      await visit.press('Enter')
      await hears(visit, /^Cat\. Two devices/)
      for (let sample = 1; sample < 6; sample++) await next()
      expect(await next()).toBe('2')
      expect(await next('ArrowRight')).toBe('3')
      await hears(visit, /^Cat\. Three devices/)
      expect(await next()).toBe('means')
      expect(await next()).toBe('rate')
      await visit.press('ArrowRight')
      await hears(visit, /^Cat\. Three devices/)
      expect(await visit.evaluate(`document.querySelector('#rate').getAttribute('aria-valuetext')`)).toBe(
        '3 rows for each mean',
      )
      expect(await bytesShown(visit)).toEqual(planned('vit-cifar10', VIT_ROWS, 3, { compressionRate: 3 }))
      for (const back of ['means', '3']) {
        await visit.press('Shift+Tab')
        expect(await focused()).toBe(back)
      }
      await visit.evaluate(`document.querySelector('#tab-picture').focus()`)
      expect(await next('ArrowRight')).toBe('tab-text')
      expect(await next()).toBe('prompt')
      await visit.press('Control+Enter')
      await hears(visit, /^Three devices give/)
      expect(await next()).toBe('continue')
    } finally {
      await visit.close()
    }
  })

  it('takes a picture that is dropped on it', async () => {
    const visit = await browser.visit(served.address)
    try {
      await isReady(visit)
      await visit.evaluate(`fetch('samples/ship.png').then(async response => {
        const dataTransfer = new DataTransfer()
        dataTransfer.items.add(new File([await response.blob()], 'ship.png', { type: 'image/png' }))
        document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }))
      })`)
      await hears(visit, /^Ship\. Two devices/)
    } finally {
      await visit.close()
    }
  })

  it('moves the words that are dragged within the prompt', async () => {
    const visit = await browser.visit(`${served.address}#text`)
    try {
      await visit.evaluate(`(prompt => {
        prompt.value = 'ALPHA beta gamma delta'
        prompt.focus()
        prompt.setSelectionRange(0, 5)
      })(document.querySelector('#prompt'))`)
      const { x, y } = await visit.evaluate<DOMRect>(
        `document.querySelector('#prompt').getBoundingClientRect().toJSON()`,
      )
      await visit.drag([x + 30, y + 25], [x + 300, y + 26])
      await visit.until(`/^beta gamma delta ?ALPHA ?$/.test(document.querySelector('#prompt').value.trim())`)
    } finally {
      await visit.close()
    }
  })

  it('can answer within two seconds of a cold load, and never holds its own thread for 50 ms', async () => {
    const readyMs: number[] = []
    const heldMs: number[] = []
    const longest = await browser.longestTaskMs(async () => {
      const visit = await browser.visit(served.address)
      try {
        await isReady(visit)
        readyMs.push(await readyAfter(visit))
        await visit.click('.samples button')
        await hears(visit, /^Cat\. Two devices/)
        await visit.click('#devices label:nth-child(3)')
        await hears(visit, /^Cat\. Four devices/)
        await visit.click('#tab-text')
        await visit.click('#continue')
        await hears(visit, /^Four devices give/)
        heldMs.push(...(await visit.evaluate<number[]>(`performance.mark('over'); longTasks`)))
      } finally {
        await visit.close()
      }
    })
    // Others may have had the cores meanwhile: the best of a few loads counts.
    for (let more = 0; more < 4 && Math.min(...readyMs) > READY_MS; more++) {
      const visit = await browser.visit(served.address)
      await isReady(visit)
      readyMs.push(await readyAfter(visit))
      await visit.close()
    }
    const rounded = (values: readonly number[]): string => values.map(v => v.toFixed(0)).join(', ') || 'none'
    console.log(
      `ready after ${rounded(readyMs)} ms; the page's longest task took ${longest.toFixed(1)} ms of a core; long tasks by the clock: ${rounded(heldMs)}`,
    )
    expect(Math.min(...readyMs)).toBeLessThanOrEqual(READY_MS)
    expect(longest).toBeLessThanOrEqual(50)
  })
})

describe('the playground where there is no WebAssembly', () => {
  if (!isThere('Firefox')) return it.skip('Firefox is missing')

  it('says so, and answers all the same', async () => {
    const browser = await inFirefox({ 'javascript.options.wasm': false })
    try {
      const visit = await browser.visit(served.address)
      await hears(visit, /^Ready/)
      expect(await visit.evaluate(`document.querySelector('.warning').textContent`)).toMatch(
        /no WebAssembly with SIMD, or it is switched off/,
      )
      await visit.give('#file', CAT)
      await visit.until(`document.querySelector('.answers th[scope=row]')?.textContent === 'cat'`)
      await visit.close()
    } finally {
      await browser.close()
    }
  })
})
