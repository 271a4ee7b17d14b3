/** A web site on loopback for pages under test: files with the headers that a case is about, and what pages answer. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
}

/** What makes a page cross-origin isolated, so that its memory can be shared. */
export const ISOLATED = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
}

export interface SiteOptions {
  /** Folders by the paths that they are at, e.g. `{ '/models/': '…' }`. The longest that fits counts. */
  readonly folders: Readonly<Record<string, string>>
  /** Files made up for a test, by their paths. */
  readonly files?: Readonly<Record<string, string>>
  /** Sent with everything. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface Site {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string
  /** Paths that were asked for and are not there. */
  readonly missing: readonly string[]
  /** Resolves to what a page posts to `/answer`, as JSON, the next time. */
  answer(): Promise<unknown>
  close(): Promise<void>
}

export async function serve({ folders, files = {}, headers = {} }: SiteOptions): Promise<Site> {
  const missing: string[] = []
  const waiting: ((answer: unknown) => void)[] = []
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    answer(request, response).catch(() => response.destroy())
  })
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://site').pathname))
    if (request.method === 'POST') {
      const body: Buffer[] = []
      for await (const chunk of request) body.push(chunk as Buffer)
      response.end()
      waiting.shift()?.(JSON.parse(Buffer.concat(body).toString()))
      return
    }
    response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream')
    const made = files[path]
    if (made !== undefined) return void response.end(made)
    const at = Object.keys(folders)
      .filter(prefix => path.startsWith(prefix))
      .sort((a, b) => b.length - a.length)[0]
    const file = at && join(folders[at] as string, path.slice(at.length))
    const found = file ? await stat(file).catch(() => undefined) : undefined
    if (!file || !found?.isFile()) {
      missing.push(path)
      response.writeHead(404).end()
      return
    }
    send(request, response, file, found.size)
  }
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    missing,
    answer: () => new Promise(resolve => waiting.push(resolve)),
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** A file, or the range of it that was asked for. */
function send(request: IncomingMessage, response: ServerResponse, file: string, size: number): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const [start, end] = range ? [Number(range[1]), Math.min(Number(range[2] || size - 1), size - 1)] : [0, size - 1]
  response.writeHead(range ? 206 : 200, {
    'content-length': end - start + 1,
    ...(range && { 'content-range': `bytes ${start}-${end}/${size}` }),
  })
  if (request.method === 'HEAD' || size === 0) response.end()
  else createReadStream(file, { start, end }).pipe(response)
}
