/** A page in a browser, as far as tests of pages need it: the same in Chromium (by playwright) and Firefox (by puppeteer). */
import { chromium } from 'playwright-core'
import puppeteer, { type ElementHandle } from 'puppeteer-core'
import { RUNTIMES } from './runtimes.js'

export interface Page {
  /** Chooses a file in the page's file input, once it may be used. */
  choose(path: string): Promise<void>
  /** What the page's `output` says once that matches. */
  told(pattern: RegExp): Promise<string>
  /** Presses the button that is called so. */
  press(name: string): Promise<void>
  /** How many web workers it has. */
  workers(): number
}

/** Opens a page, and closes the browser afterwards. Rejects with what the page threw, too. */
export async function inChromium(url: string, use: (page: Page) => Promise<void>): Promise<void> {
  const browser = await chromium.launch({ executablePath: RUNTIMES.Chromium, args: ['--no-sandbox'] })
  try {
    const page = await browser.newPage()
    const failed = new Promise<never>((_, reject) => page.once('pageerror', reject))
    await page.goto(url)
    const used = use({
      choose: path => page.locator('input:enabled').setInputFiles(path),
      told: async pattern => (await page.locator('output').filter({ hasText: pattern }).textContent()) ?? '',
      press: name => page.getByRole('button', { name }).click(),
      workers: () => page.workers().length,
    })
    await Promise.race([used, failed])
  } finally {
    await browser.close()
  }
}

/** The same in Firefox. */
export async function inFirefox(url: string, use: (page: Page) => Promise<void>): Promise<void> {
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath: RUNTIMES.Firefox })
  try {
    const page = await browser.newPage()
    const failed = new Promise<never>((_, reject) => page.once('pageerror', reject))
    await page.goto(url)
    const used = use({
      choose: async path => {
        const input = await page.waitForSelector('input:enabled')
        await (input as ElementHandle<HTMLInputElement>).uploadFile(path)
      },
      async told(pattern) {
        const found = await page.waitForFunction(
          source => {
            const text = document.querySelector('output')?.textContent ?? ''
            return new RegExp(source).test(text) && text
          },
          {},
          pattern.source,
        )
        return (await found.jsonValue()) as string
      },
      press: name => page.locator(`button ::-p-text(${name})`).click(),
      workers: () => page.workers().length,
    })
    await Promise.race([used, failed])
  } finally {
    await browser.close()
  }
}
