/** Pages in Chromium: refused on loopback unless their origin was allowed, and then as safe as anybody else. */
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { handshake, type ReliableConnection, Secret } from '@prismal/distribute'
import { transport } from '@prismal/distribute/transports/web-socket'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collect } from './adversary.js'

/** What the page's script leaves in its global scope. */
declare global {
  var prismal: {
    readonly handshake: typeof handshake
    readonly Secret: typeof Secret
    readonly transport: typeof transport
  }
}

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', chromium.executablePath()]
const executablePath = PLACES.find(path => existsSync(path))
if (!executablePath) {
  const reason = `no Chromium is installed here (looked at ${PLACES.join(', ')})`
  if (process.env.CI) throw new Error(`${reason}: in CI pages must be tested`)
  console.log(`skipped: ${reason}, so pages are not tested`)
}

describe.skipIf(!executablePath)('a page in Chromium', () => {
  const secret = Secret.create()
  let server: Server
  let origin: string
  let browser: Browser
  let page: Page
  beforeAll(async () => {
    const { outputFiles } = await build({
      stdin: {
        contents: `
          import { handshake, Secret } from '@prismal/distribute'
          import { transport } from '@prismal/distribute/transports/web-socket'
          globalThis.prismal = { handshake, Secret, transport }`,
        resolveDir: '.',
      },
      ...{ bundle: true, format: 'esm', platform: 'browser', write: false, logLevel: 'warning' },
      // Chunks of the built packages import each other for their order too, which they may do without.
      logOverride: { 'ignored-bare-import': 'silent' },
    })
    const script = outputFiles[0]?.text ?? ''
    server = createServer((_, response) => {
      response.setHeader('content-type', 'text/html')
      response.end(`<!doctype html><title>page</title><script type="module">${script}</script>`)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    browser = await chromium.launch({ ...(executablePath && { executablePath }), args: ['--no-sandbox'] })
    page = await browser.newPage()
    await page.goto(origin)
    await page.waitForFunction(() => globalThis.prismal !== undefined)
  })
  afterAll(async () => {
    await browser?.close()
    server?.close()
  })

  test('that connects to loopback is refused by its origin', async () => {
    const log: string[] = []
    let arrivals = 0
    const listener = await transport.listen('ws://127.0.0.1:0', () => arrivals++, { log: line => log.push(line) })
    const opened = await page.evaluate(
      address =>
        new Promise<string>(resolve => {
          const socket = new WebSocket(address)
          socket.onopen = () => resolve('opened')
          socket.onerror = () => resolve('refused')
        }),
      listener.address,
    )
    await listener.close()
    expect(opened).toBe('refused')
    expect(arrivals).toBe(0)
    expect(log.join('\n')).toContain(`the origin "${origin}" is not allowed`)
  })

  /** Meets a page whose origin is allowed; what its script returns, and what this side's handshake came to. */
  async function meets(script: (from: { address: string; secret: string }) => Promise<string>, theirs: Secret) {
    let resolveHere: (meeting: Promise<ReliableConnection>) => void
    const here = new Promise<ReliableConnection>(resolve => {
      resolveHere = resolve
    })
    const listener = await transport.listen(
      'ws://127.0.0.1:0',
      ({ connection }) => resolveHere(handshake(connection, 'listener', { secret })),
      { allowedOrigins: [origin] },
    )
    const there = page.evaluate(script, { address: listener.address, secret: theirs.reveal() })
    return { here, there, close: () => listener.close() }
  }

  test('that is allowed and has the secret speaks with Node, sealed by WebCrypto', async () => {
    const { here, there, close } = await meets(async ({ address, secret }) => {
      const { handshake, Secret, transport } = globalThis.prismal
      const connection = await handshake(await transport.dial(address), 'dialer', { secret: Secret.parse(secret) })
      const answer = new Promise<Uint8Array>(resolve => connection.receive(resolve))
      await connection.send(new TextEncoder().encode('from the page'))
      await connection.send(new Uint8Array(1_000_000).fill(7))
      return new TextDecoder().decode(await answer)
    }, secret)
    const connection = await here
    const { got, count } = collect(connection)
    await count(2)
    expect(new TextDecoder().decode(got[0])).toBe('from the page')
    expect(Buffer.compare(got[1] as Uint8Array, new Uint8Array(1_000_000).fill(7))).toBe(0)
    await connection.send(new TextEncoder().encode('from Node'))
    expect(await there).toBe('from Node')
    connection.close()
    await close()
  })

  test('that is allowed and has another secret is told so, and so is Node', async () => {
    const { here, there, close } = await meets(async ({ address, secret }) => {
      const { handshake, Secret, transport } = globalThis.prismal
      return handshake(await transport.dial(address), 'dialer', { secret: Secret.parse(secret) }).then(
        () => 'agreed',
        (error: Error) => error.message,
      )
    }, Secret.create())
    await expect(here).rejects.toThrow('the secrets differ')
    expect(await there).toContain('the secrets differ')
    await close()
  })
})
