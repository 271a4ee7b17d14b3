/** People at a page: what they see, click and press, the same in both browsers. */
import { chromium } from 'playwright-core'
import puppeteer, { type ElementHandle } from 'puppeteer-core'
import { RUNTIMES } from '../runtimes.js'

export type Scheme = 'light' | 'dark'

export interface Visit {
  /** What went wrong in the page: what it threw, and what its policy forbade. */
  readonly errors: readonly string[]
  evaluate<T>(script: string): Promise<T>
  click(selector: string): Promise<void>
  press(key: string): Promise<void>
  give(selector: string, path: string): Promise<void>
  /** Resolves once the expression is true. */
  until(expression: string): Promise<void>
  screenshot(path: string): Promise<void>
  close(): Promise<void>
}

export interface Visitor {
  /** A page in a profile of its own, so that nothing is cached. */
  visit(address: string, size?: { readonly width: number; readonly height: number }, scheme?: Scheme): Promise<Visit>
  close(): Promise<void>
}

const DESKTOP = { width: 1280, height: 900 }
const UNTIL_MS = 60_000

/** Before anything of the page: what its policy forbids is kept, and which of its tasks were long. */
const WATCH = `
  globalThis.forbidden = []
  globalThis.longTasks = []
  document.addEventListener('securitypolicyviolation', e => forbidden.push(e.violatedDirective + ' ' + e.blockedURI))
  if (PerformanceObserver.supportedEntryTypes.includes('longtask'))
    new PerformanceObserver(list => longTasks.push(...list.getEntries().map(e => e.duration)))
      .observe({ type: 'longtask', buffered: true })`

/** Looks until an expression is true; then says what the page shows instead. (The drivers' own way evaluates in the page, which its policy forbids.) */
const until = (expression: string): string => `(async () => {
  const end = performance.now() + ${UNTIL_MS}
  while (!(${expression})) {
    if (performance.now() > end) throw new Error('the page shows: ' + document.querySelector('.results').innerText)
    await new Promise(resolve => setTimeout(resolve, 15))
  }
})()`

/** A visit with a mouse that drags as a person's does. (What drives Firefox begins no drags.) */
export interface DraggingVisit extends Visit {
  /** Points are pixels from the top left of what is seen. */
  drag(from: readonly [x: number, y: number], to: readonly [x: number, y: number]): Promise<void>
}

export interface TracingVisitor extends Visitor {
  visit(...where: Parameters<Visitor['visit']>): Promise<DraggingVisit>
  /**
   * The most milliseconds of a core that one task takes of the main thread of the page that sets the mark `over`, at the work's end. Unlike a
   * task's duration that does not grow where others have the cores meanwhile.
   */
  longestTaskMs(work: () => Promise<void>): Promise<number>
}

interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  /** Of a core, in microseconds. */
  readonly tdur?: number
}

export async function inChromium(): Promise<TracingVisitor> {
  const browser = await chromium.launch({ executablePath: RUNTIMES.Chromium, args: ['--no-sandbox'] })
  return {
    async longestTaskMs(work) {
      await browser.startTracing(undefined, { categories: ['toplevel', 'blink.user_timing', '__metadata'] })
      let trace: Buffer
      try {
        await work()
      } finally {
        trace = await browser.stopTracing()
      }
      const { traceEvents: events } = JSON.parse(trace.toString()) as { traceEvents: TraceEvent[] }
      const over = events.find(e => e.name === 'over')
      if (!over) throw new Error(`the trace of ${events.length} events ends before the work does`)
      const tasks = events.filter(e => e.name.endsWith('::RunTask') && e.pid === over.pid && e.tid === over.tid)
      return Math.max(...tasks.map(e => e.tdur ?? 0)) / 1000
    },
    async visit(address, viewport = DESKTOP, colorScheme = 'light') {
      const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' })
      await context.addInitScript(WATCH)
      const page = await context.newPage()
      const errors: string[] = []
      page.on('pageerror', error => errors.push(error.message))
      await page.goto(address)
      return {
        errors,
        evaluate: script => page.evaluate(script),
        click: selector => page.click(selector),
        press: key => page.keyboard.press(key),
        give: (selector, path) => page.setInputFiles(selector, path),
        async drag([fromX, fromY], [toX, toY]) {
          await page.mouse.move(fromX, fromY)
          await page.mouse.down()
          // The first few pixels begin the drag, the rest carry it.
          await page.mouse.move(fromX + 30, fromY, { steps: 5 })
          await page.mouse.move(toX, toY, { steps: 10 })
          await page.mouse.up()
        },
        until: expression => page.evaluate(until(expression)) as never,
        screenshot: async path => void (await page.screenshot({ path, fullPage: true })),
        close: () => context.close(),
      }
    },
    close: () => browser.close(),
  }
}

/** `preferences` are those of about:config. */
export async function inFirefox(preferences: Readonly<Record<string, unknown>> = {}): Promise<Visitor> {
  const browser = await puppeteer.launch({
    ...{ browser: 'firefox', executablePath: RUNTIMES.Firefox, headless: true },
    extraPrefsFirefox: preferences,
  })
  return {
    async visit(address, viewport = DESKTOP) {
      const context = await browser.createBrowserContext()
      const page = await context.newPage()
      await page.setViewport(viewport)
      await page.evaluateOnNewDocument(WATCH)
      const errors: string[] = []
      page.on('pageerror', error => errors.push(String(error)))
      await page.goto(address)
      return {
        errors,
        evaluate: script => page.evaluate(script) as never,
        click: selector => page.click(selector),
        press: key => page.keyboard.press(key as never),
        give: async (selector, path) => {
          await ((await page.$(selector)) as ElementHandle<HTMLInputElement>).uploadFile(path)
        },
        until: expression => page.evaluate(until(expression)) as never,
        screenshot: async path => void (await page.screenshot({ path: path as never, fullPage: true })),
        close: () => context.close(),
      }
    },
    close: () => browser.close(),
  }
}
