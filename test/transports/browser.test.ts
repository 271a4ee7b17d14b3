/** Pages in Chromium: the platform's WebSocket and WebRTC, bundled for a browser, and pages that may not come in. */
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type Connection, type Listener, reliable } from '@prismal/distribute'
import { transport } from '@prismal/distribute/transports/web-rtc'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const known = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = process.env.CHROMIUM ?? known.find(path => existsSync(path))
const because = executablePath ? '' : ` (skipped: none of ${known.join(', ')} exists, and CHROMIUM names none)`

describe.skipIf(!executablePath)(`a page in Chromium${because}`, () => {
  let browser: Browser
  let page: Page
  let server: Server
  let listener: Listener
  const logged: string[] = []

  beforeAll(async () => {
    const { outputFiles } = await build({
      stdin: {
        contents: `
          export { transport as webRtc } from '@prismal/distribute/transports/web-rtc'
          export { transport as webSocket } from '@prismal/distribute/transports/web-socket'
          export { reliable } from '@prismal/distribute'`,
        resolveDir: fileURLToPath(new URL('.', import.meta.url)),
      },
      bundle: true,
      write: false,
      format: 'iife',
      globalName: 'prismal',
      platform: 'browser',
      logLevel: 'error',
    })
    server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<p>a page</p>'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const accept = (raw: Connection): void => {
      const end = reliable(raw)
      end.receive(message => end.send(message))
    }
    const options = {
      allowedOrigins: [`http://127.0.0.1:${port}`],
      log: (message: string) => void logged.push(message),
    }
    listener = await transport.listen('rtc+ws://127.0.0.1:0', ({ connection }) => accept(connection), options)
    browser = await chromium.launch({ executablePath: executablePath as string, args: ['--no-sandbox'] })
    page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${port}`)
    await page.addScriptTag({ content: outputFiles[0]?.text as string })
  })
  afterAll(async () => {
    await browser?.close()
    await listener?.close()
    server?.close()
  })

  /** Sends messages of these sizes to the echo, and tells which came back; or why it could not. */
  const echoed = (kind: 'webRtc' | 'webSocket', address: string, sizes: number[]): Promise<number[] | string> =>
    page.evaluate(
      async ({ kind, address, sizes }) => {
        // biome-ignore lint/suspicious/noExplicitAny: what the bundle puts into the page.
        const { prismal } = globalThis as any
        try {
          const connection = prismal.reliable(await prismal[kind].dial(address))
          const came: number[] = []
          const all = new Promise<void>(resolve => {
            connection.receive((message: Uint8Array) => {
              came.push(message.length)
              if (came.length === sizes.length) resolve()
            })
          })
          for (const size of sizes) await connection.send(new Uint8Array(size))
          await all
          connection.close('the page is done')
          return came
        } catch (error) {
          return String(error)
        }
      },
      { kind, address, sizes },
    )
  const sizes = [0, 1, 34_000, 262_144, 3_000_000]

  it('exchanges messages over a web-socket', async () => {
    expect(await echoed('webSocket', listener.address.replace('rtc+', ''), sizes)).toEqual(sizes)
  })

  it('exchanges messages over a data channel', async () => {
    expect(await echoed('webRtc', listener.address, sizes)).toEqual(sizes)
  })

  it('of another origin is refused, on loopback too', async () => {
    const elsewhere = await transport.listen('rtc+ws://127.0.0.1:0', () => {}, {
      log: message => void logged.push(message),
    })
    logged.length = 0
    for (const [kind, scheme] of [
      ['webSocket', 'ws'],
      ['webRtc', 'rtc+ws'],
    ] as const) {
      const { port } = new URL(elsewhere.address.replace('rtc+', ''))
      expect(await echoed(kind, `${scheme}://127.0.0.1:${port}`, [1])).toMatch(/cannot be reached: refused/)
    }
    expect(logged.join('\n')).toMatch(/(refused 127\.0\.0\.1:\d+: the origin "http:.*" is not allowed\n?){2}/)
    await elsewhere.close()
  })
})
