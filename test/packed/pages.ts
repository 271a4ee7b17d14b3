/** Pages in the browsers that are installed: all that a suite needs of them is to open one. */
import { chromium } from 'playwright-core'
import puppeteer from 'puppeteer-core'
import { isThere, RUNTIMES } from './runtimes.js'
import type { Site } from './site.js'

export const BROWSERS = ['Chromium', 'Firefox'] as const
export type BrowserName = (typeof BROWSERS)[number]

/** A name of this machine that browsers do not trust as they trust `localhost`. */
export const INSECURE_HOST = 'insecure.test'

export interface OpenBrowser {
  /** The browser's own version, e.g. `150.0.7871.124`. */
  readonly version: string
  /** Opens a page of a site and resolves to what it, or a worker of it, posts to `/answer`. Rejects with what the page says in its console, once it says an error. */
  ask(site: Site, path: string): Promise<unknown>
  close(): Promise<void>
}

export interface LaunchOptions {
  /** Firefox' settings (about:config). */
  readonly preferences?: Readonly<Record<string, unknown>>
}

export async function launch(name: BrowserName, { preferences = {} }: LaunchOptions = {}): Promise<OpenBrowser> {
  return name === 'Chromium' ? openChromium() : openFirefox(preferences)
}

async function openChromium(): Promise<OpenBrowser> {
  const browser = await chromium.launch({
    executablePath: RUNTIMES.Chromium,
    args: ['--no-sandbox', `--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`],
  })
  return {
    version: browser.version(),
    ask: asking(() => browser.newContext()),
    close: () => browser.close(),
  }
}

async function openFirefox(preferences: Readonly<Record<string, unknown>>): Promise<OpenBrowser> {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: RUNTIMES.Firefox,
    headless: true,
    extraPrefsFirefox: { 'network.dns.localDomains': INSECURE_HOST, ...preferences },
  })
  return {
    version: (await browser.version()).replace(/^\D*/, ''),
    ask: asking(() => browser.createBrowserContext()),
    close: () => browser.close(),
  }
}

/** What both drivers' pages have. */
interface DrivenPage {
  on(event: 'pageerror', take: (error: unknown) => void): unknown
  goto(address: string): Promise<unknown>
}

interface DrivenContext {
  newPage(): Promise<DrivenPage>
  close(): Promise<unknown>
}

/** Asks in a context of its own each time: nothing is cached, no service worker stays. */
const asking =
  (open: () => Promise<DrivenContext>): OpenBrowser['ask'] =>
  async (site, path) => {
    const context = await open()
    try {
      return await answered(site, path, await context.newPage())
    } finally {
      await context.close()
    }
  }

async function answered(site: Site, path: string, page: DrivenPage): Promise<unknown> {
  const answer = site.answer()
  const failed = new Promise<never>((_, reject) => {
    page.on('pageerror', error => {
      // Scripts that are blocked or not there are a case's own, which tells what came of them.
      if (!/Content-Security-Policy|Loading Worker|planted/.test(String(error))) reject(error)
    })
  })
  failed.catch(() => {})
  await page.goto(site.origin + path)
  return Promise.race([answer, failed])
}

/** The browsers that this machine has. */
export const installedBrowsers = (): BrowserName[] => BROWSERS.filter(isThere)
