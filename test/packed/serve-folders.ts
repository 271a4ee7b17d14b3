/** Folders over HTTP on loopback, with ranges, for runtimes that have no folders. */
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'
import { text } from 'node:stream/consumers'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
}

export interface Served {
  /** `http://127.0.0.1:…`, without a slash at the end. */
  readonly origin: string
  close(): Promise<void>
}

/** Serves each folder below its name; `headers` come with every answer, `posted` is given what is posted anywhere. */
export async function serveFolders(
  folders: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>> = {},
  posted: (body: string) => void = () => {},
): Promise<Served> {
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      void text(request).then(posted)
      response.end()
      return
    }
    const [, name = '', ...rest] = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname).split(
      '/',
    )
    const path = folders[name] && join(folders[name], normalize(`/${rest.join('/')}`))
    const stats = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })
    for (const [header, value] of Object.entries(headers)) response.setHeader(header, value)
    if (!path || !stats?.isFile()) {
      response.writeHead(404).end()
      return
    }
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const begin = Number(from ?? 0)
    const end = Math.min(to ? Number(to) : stats.size - 1, stats.size - 1)
    response.writeHead(from === undefined ? 200 : 206, {
      'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
      'content-length': end - begin + 1,
      'accept-ranges': 'bytes',
      ...(from !== undefined && { 'content-range': `bytes ${begin}-${end}/${stats.size}` }),
    })
    if (request.method === 'HEAD') response.end()
    else createReadStream(path, { start: begin, end }).pipe(response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
