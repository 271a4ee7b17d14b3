/** Loading from a URL: servers with ranges and without, and connections that fail. */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { loadModel, ModelError, type ModelFiles, urlFiles } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { answer, answerOf, failure } from './loading.js'
import { temporaryFolders, tinyModel, writeModel } from './tiny-model.js'

const newFolder = temporaryFolders()

describe('a URL', () => {
  const tiny = tinyModel('bert')
  const folder = writeModel(newFolder(), tiny)
  let server: Server
  let requests: { method: string; name: string; range: string | undefined }[]
  /** How GET of an existing file is answered. */
  let get: (request: IncomingMessage, response: ServerResponse, bytes: Buffer) => void

  /** How HEAD of an existing file is answered; undefined: with its length. */
  let head: ((request: IncomingMessage, response: ServerResponse) => void) | undefined

  const withRanges: typeof get = (request, response, bytes) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    if (from === undefined) response.end(bytes)
    else response.writeHead(206).end(bytes.subarray(Number(from), Number(to) + 1))
  }
  const withoutRanges: typeof get = (_, response, bytes) => response.end(bytes)
  /** Chunked, so that only Content-Range tells a length. */
  const withOpenRanges: typeof get = (request, response, bytes) => {
    const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const end = to === '' ? bytes.length : Number(to) + 1
    response.writeHead(206, { 'content-range': `bytes ${from}-${end - 1}/${bytes.length}` })
    response.write(bytes.subarray(Number(from), end))
    response.end()
  }
  const inPieces: typeof get = (_, response, bytes) => {
    response.write(bytes.subarray(0, 1000))
    response.end(bytes.subarray(1000))
  }

  beforeEach(async () => {
    requests = []
    head = undefined
    server = createServer((request, response) => {
      const name = (request.url ?? '').replace('/models/tiny/', '')
      requests.push({ method: request.method ?? '', name, range: request.headers.range })
      const bytes = ['config.json', 'model.safetensors'].includes(name) ? readFileSync(join(folder, name)) : undefined
      if (!bytes) response.writeHead(404).end('no such file')
      else if (request.method === 'HEAD' && head) head(request, response)
      else if (request.method === 'HEAD') response.setHeader('content-length', bytes.length).end()
      else get(request, response, bytes)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  })
  afterEach(async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  const base = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/tiny`

  it('loads to the same bits, by ranges of the file', async () => {
    get = withRanges
    const model = await loadModel(await openFiles(`${base()}/`), { engine: await createEngine() })
    expect(model.location).toBe(base())
    expect(await answer(model)).toEqual(await answerOf(folder))
    model.dispose()
    const gets = requests.filter(r => r.method === 'GET' && r.name === 'model.safetensors')
    expect(gets.every(r => r.range)).toBe(true)
    expect(requests.filter(r => r.method === 'HEAD' && r.name === 'model.safetensors')).toHaveLength(1)
  })

  it('loads to the same bits from a server without ranges, which sends each file once', async () => {
    get = withoutRanges
    const model = await loadModel(urlFiles(new URL(base())), { engine: await createEngine() })
    expect(await answer(model)).toEqual(await answerOf(folder))
    model.dispose()
    const gets = requests.filter(r => r.method === 'GET').map(r => r.name)
    expect(gets).toEqual(['config.json', 'model.safetensors'])
  })

  it('whose connection ends early is refused, with ranges and without', async () => {
    for (const ranges of [true, false]) {
      get = (request, response, bytes) => {
        const [, from] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? []
        if (request.url?.endsWith('config.json') || (ranges && Number(from) <= 8))
          return withRanges(request, response, bytes)
        const begin = ranges ? Number(from) : 0
        response.writeHead(ranges ? 206 : 200, { 'content-length': bytes.length - begin })
        // Most of the file, and then the connection is cut.
        response.write(bytes.subarray(begin, bytes.length - 100), () => response.destroy())
      }
      const error = await failure(urlFiles(base()))
      expect(error).toBeInstanceOf(ModelError)
      expect(error.message).toMatch(/model\.safetensors: the connection ended at byte \d+: /)
    }
  })

  it('can be aborted while it sends nothing', async () => {
    const abort = new AbortController()
    const reason = new Error('enough')
    const engine = await createEngine()
    get = (request, response, bytes) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
      if (request.url?.endsWith('config.json') || Number(from) <= 8) return withRanges(request, response, bytes)
      // Of the weights, the head only: the rest never comes.
      response.writeHead(206, { 'content-length': Number(to) + 1 - Number(from) })
      response.write(bytes.subarray(Number(from), Number(from) + 10))
    }
    const files = urlFiles(base())
    const chunks = files.chunks as NonNullable<ModelFiles['chunks']>
    const aborting: ModelFiles = {
      ...files,
      async *chunks(...asked) {
        for await (const chunk of chunks(...asked)) {
          yield chunk
          setImmediate(() => abort.abort(reason)) // when the next is being waited for
        }
      },
    }
    await expect(loadModel(aborting, { engine, signal: abort.signal })).rejects.toBe(reason)
    expect(engine.arena.usedBytes).toBe(0)
    engine.dispose()
  })

  it.each<[string, NonNullable<typeof head>, typeof get]>([
    ['refuses HEAD, with ranges', (_, response) => response.writeHead(405).end(), withRanges],
    ['breaks off HEAD, as caches without a network do', (_, response) => response.destroy(), withRanges],
    ['refuses HEAD, without ranges', (_, response) => response.writeHead(403).end(), withoutRanges],
    ['tells no length, with ranges', (_, response) => response.writeHead(200).end(), withOpenRanges],
    ['tells no length ever', (_, response) => response.writeHead(200).end(), inPieces],
  ])('loads to the same bits from a server that %s', async (_, answerHead, answerGet) => {
    head = answerHead
    get = answerGet
    const model = await loadModel(urlFiles(base()), { engine: await createEngine() })
    expect(await answer(model)).toEqual(await answerOf(folder))
    model.dispose()
    expect(await urlFiles(base()).size('model.safetensors')).toBe(
      readFileSync(join(folder, 'model.safetensors')).length,
    )
    expect(await urlFiles(base()).size('tokenizer.json')).toBeUndefined()
  })

  it('is read backwards too, from a server without ranges', async () => {
    get = withoutRanges
    const whole = readFileSync(join(folder, 'model.safetensors'))
    const files = urlFiles(base())
    for (const [begin, end] of [
      [100, 300],
      [300, 1000],
      [2000, 2001],
      [50, 60],
      [0, whole.length],
      [7, 7],
    ] as const)
      expect(await files.range('model.safetensors', begin, end)).toEqual(Uint8Array.from(whole.subarray(begin, end)))
    expect(requests.filter(r => r.method === 'GET')).toHaveLength(3) // once, and once more for each step back
    await files.close?.()
  })

  it('whose server is not there says why', async () => {
    const gone = await new Promise<number>(resolve => {
      const listener = createServer().listen(0, '127.0.0.1', () => {
        const { port } = listener.address() as AddressInfo
        listener.close(() => resolve(port))
      })
    })
    const error = await failure(urlFiles(`http://127.0.0.1:${gone}/tiny`))
    expect(error).toBeInstanceOf(ModelError)
    expect(error.message).toMatch(/\/tiny\/config\.json: fetch failed: connect ECONNREFUSED /)
  })

  it('without a model there', async () => {
    get = withRanges
    const error = await failure(urlFiles(`${base()}/../other`))
    expect(error).toBeInstanceOf(ModelError)
    expect(error.message).toMatch(/other has no config\.json: it is not a model folder$/)
  })

  it('whose server refuses a file with a page is not one without that file', async () => {
    const answered = (status: number) => {
      head = (_, response) => response.writeHead(status, { 'content-type': 'text/html' }).end()
      get = (_, response) => response.writeHead(status, { 'content-type': 'text/html' }).end('<p>Not now')
      return urlFiles(base()).size('config.json')
    }
    for (const status of [401, 403, 429, 500, 503])
      await expect(answered(status)).rejects.toThrow(new ModelError(`${base()}/config.json: HTTP ${status}`))
    for (const status of [404, 410]) expect(await answered(status)).toBeUndefined()
  })

  it('asks for sizes of what is not compressed, and takes a page for no file', async () => {
    const asked: (string | undefined)[] = []
    const site = createServer((request, response) => {
      asked.push(request.headers.range)
      if (request.url === '/empty.json') response.writeHead(416).end()
      else if (request.url === '/config.json') response.writeHead(206, { 'content-length': 7 }).end()
      // What a server of a single-page application says to whatever it does not have.
      else response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-length': 300 }).end()
    })
    await new Promise<void>(resolve => site.listen(0, '127.0.0.1', resolve))
    const files = urlFiles(`http://127.0.0.1:${(site.address() as AddressInfo).port}`)
    try {
      expect(await files.size('config.json')).toBe(7)
      expect(await files.size('empty.json')).toBe(0)
      expect(await files.size('tokenizer.json')).toBeUndefined()
      expect(asked).toEqual(['bytes=0-', 'bytes=0-', 'bytes=0-'])
    } finally {
      site.closeAllConnections()
      await new Promise(resolve => site.close(resolve))
    }
  })

  it('of nobody that answers, by its address', async () => {
    const nobody = createServer()
    await new Promise<void>(resolve => nobody.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(nobody.address() as AddressInfo).port}`
    await new Promise(resolve => nobody.close(resolve))
    const error = await failure(urlFiles(url))
    expect(error).toBeInstanceOf(ModelError)
    expect(error.message).toContain(`${url}/config.json: `)
  })

  it.each(['config.json', 'model.safetensors'])(
    'of a server that never answers for %s, until a signal ends it',
    async silent => {
      get = withRanges
      const abort = new AbortController()
      const stuck = new Error('it takes too long')
      head = (request, response) => {
        if (request.url?.endsWith(silent)) abort.abort(stuck)
        else response.setHeader('content-length', readFileSync(join(folder, 'config.json')).length).end()
      }
      const engine = await createEngine()
      await expect(loadModel(urlFiles(base()), { engine, signal: abort.signal })).rejects.toBe(stuck)
      engine.dispose()
    },
  )

  it('of a server that fails, or sends too little', async () => {
    get = (request, response, bytes) => {
      if (request.url?.endsWith('config.json')) withRanges(request, response, bytes)
      else response.writeHead(503).end()
    }
    expect(await failure(urlFiles(base()))).toEqual(new ModelError(`${base()}/model.safetensors: HTTP 503`))
    get = (request, response, bytes) => {
      if (request.url?.endsWith('config.json')) withRanges(request, response, bytes)
      else response.writeHead(206).end(bytes.subarray(0, 5))
    }
    expect(await failure(urlFiles(base()))).toEqual(
      new ModelError(`${base()}/model.safetensors: bytes 0…8 were asked for, 5 came`),
    )
    get = (_, response, bytes) => response.end(bytes.subarray(0, 5))
    expect(await failure(urlFiles(base()))).toEqual(
      new ModelError(`${base()}/config.json: bytes 0…${JSON.stringify(tiny.config).length} were asked for, 5 came`),
    )
  })
})
