/** The built page on a static server, as anyone's would have it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'vite'
import { REPOSITORY } from '../pack.js'

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
}

export interface Served {
  readonly address: string
  /** Paths that are answered by 404, whatever there is. */
  withheld: RegExp | undefined
  close(): Promise<void>
}

/** Builds the page into a folder of its own and serves it below a path on a free port of loopback. */
export async function serveBuiltPage(): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'prismal-playground-'))
  const root = join(REPOSITORY, 'packages/playground')
  await build({
    ...{ root, configFile: join(root, 'vite.config.ts'), logLevel: 'warn' },
    build: { outDir: folder, emptyOutDir: true },
  })
  const below = '/somewhere/below/'
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://page')
    const name = pathname === below ? 'index.html' : pathname.slice(below.length)
    const isHere = pathname.startsWith(below) && !name.includes('..') && !served.withheld?.test(name)
    const bytes = isHere ? await readFile(join(folder, name)).catch(() => undefined) : undefined
    if (!bytes) return response.writeHead(404).end()
    const type = TYPES[extname(name)] ?? 'application/octet-stream'
    // As most servers do with what is text, where they may.
    const isPacked = /text|json/.test(type) && /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')
    const sent = isPacked ? gzipSync(bytes) : bytes
    if (isPacked) response.setHeader('content-encoding', 'gzip')
    response.writeHead(200, { 'content-type': type, 'content-length': sent.length, 'cache-control': 'no-cache' })
    return request.method === 'HEAD' ? response.end() : response.end(sent)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const served: Served = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}${below}`,
    withheld: undefined,
    async close() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return served
}
