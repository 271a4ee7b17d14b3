/** Where a model's files come from: a folder, a URL, or anything that can read ranges. */
import { ModelError } from './errors.js'

/** The files of one model, read by name. */
export interface ModelFiles {
  /** The folder or URL, as messages name it and as another device would open it. */
  readonly location: string
  /** Where each file is, where that is not below the location: what another thread opens. */
  readonly urls?: Readonly<Record<string, string>>
  /** Bytes of a file, or undefined where it does not exist. */
  size(name: string, signal?: AbortSignal): Promise<number | undefined>
  /** Bytes [begin, end) of a file. Throws {@link ModelError} where it ends before. */
  range(name: string, begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>
  /**
   * The same bytes as a stream, in pieces of any size, without holding more than a few MB of them. A piece is valid until
   * the next one is asked for. Throws as `range` does, and the signal's reason once it aborts.
   */
  chunks?(name: string, begin: number, end: number, signal?: AbortSignal): AsyncIterable<Uint8Array>
  /** The names of all files, where the source can tell. */
  list?(): Promise<readonly string[]>
  /** Gives up what is held open. */
  close?(): Promise<void>
}

/** The same files; every read of them ends with the signal's reason once it aborts, as far as they can be ended. */
export function endedBy(signal: AbortSignal | undefined, files: ModelFiles): ModelFiles {
  if (!signal) return files
  return {
    location: files.location,
    ...(files.urls && { urls: files.urls }),
    size: name => files.size(name, signal),
    range: (name, begin, end) => files.range(name, begin, end, signal),
    ...(files.chunks && { chunks: (name, begin, end) => files.chunks!(name, begin, end, signal) }),
    ...(files.list && { list: () => files.list!() }),
    ...(files.close && { close: () => files.close!() }),
  }
}

/** What people call a model by its location: the last part of a folder's path or of a URL, or the one `above` parts before it. */
export const folderName = (location: string, above = 0): string =>
  location
    .split(/[\\/]/)
    .filter(Boolean)
    .at(-1 - above) ?? location

/**
 * The absolute URL of a location that is one, or that is relative to a page; undefined where it is a path of this machine.
 * Throws {@link ModelError} where it is relative to something that has no address.
 */
export function addressOf(location: string): string | undefined {
  if (/^https?:/.test(location)) return location
  const base = globalThis.document?.baseURI ?? globalThis.location?.href
  const isPage = typeof globalThis.process?.getBuiltinModule !== 'function'
  if (base === undefined || !isPage) return undefined
  if (!URL.canParse(location, base))
    throw new ModelError(`${location} is relative to ${base}, which is no address: give the whole URL`)
  return new URL(location, base).href
}

/**
 * A place as another thread finds it too, or what is no place as it is: a clone knows no `URL`, and what is relative to a
 * page is not so to its workers. Throws as {@link addressOf} does.
 */
export function placeForThreads<Source>(source: Source | URL | string): Source | string {
  const place = source instanceof URL ? source.href : source
  return typeof place === 'string' ? (addressOf(place) ?? place) : place
}

/** Bytes that are read at a time: few calls, and still small beside a cache. */
export const CHUNK_BYTES = 1 << 20

/** `files.chunks`, or ranges one after another where a source has only those. Throws {@link ModelError} at a wrong count. */
export async function* chunksOf(
  files: ModelFiles,
  name: string,
  begin: number,
  end: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let at = begin
  for await (const chunk of files.chunks?.(name, begin, end, signal) ?? ranges(files, name, begin, end)) {
    signal?.throwIfAborted()
    at += chunk.length
    if (at > end) break
    yield chunk
  }
  if (at !== end) throw wrongCount(`${files.location}/${name}`, begin, end, at - begin)
}

async function* ranges(files: ModelFiles, name: string, begin: number, end: number): AsyncGenerator<Uint8Array> {
  for (let at = begin; at < end; at += CHUNK_BYTES) yield await files.range(name, at, Math.min(end, at + CHUNK_BYTES))
}

/** A whole file. Throws {@link ModelError} where it does not exist. */
export async function readFile(files: ModelFiles, name: string): Promise<Uint8Array<ArrayBuffer>> {
  const size = await files.size(name)
  if (size === undefined) throw new ModelError(`${files.location} has no ${name}`)
  return files.range(name, 0, size)
}

/** A JSON file, or undefined where it does not exist. Throws {@link ModelError} where it is not JSON. */
export async function readJson(files: ModelFiles, name: string): Promise<Record<string, unknown> | undefined> {
  if ((await files.size(name)) === undefined) return undefined
  const text = new TextDecoder().decode(await readFile(files, name))
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (cause) {
    throw new ModelError(`${files.location}/${name} is not JSON: ${(cause as Error).message}`, { cause })
  }
  throw new ModelError(`${files.location}/${name} is not a JSON object`)
}

/** The size of the file that a response is about, as its head tells it; undefined where there is no such file. */
function toldSize(response: Response): number | undefined | 'not told' {
  const { status, ok, headers } = response
  if (status === 404 || status === 410) return undefined
  // An empty file has no first byte.
  if (status === 416) return 0
  if (ok && isPage(response)) return undefined
  const length = headers.get('content-length') ?? /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1]
  return ok && length !== undefined ? Number(length) : 'not told'
}

/** Servers of pages answer with one of them for whatever they do not have. */
const isPage = ({ headers }: Response): boolean => headers.get('content-type')?.startsWith('text/html') ?? false

async function bodyLength({ body }: Response): Promise<number> {
  let length = 0
  const reader = body?.getReader()
  for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read())
    length += piece.value.length
  return length
}

/** A file that is on its way: its bytes from `at` on, the first of them in `rest`. */
interface Incoming {
  readonly name: string
  readonly reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined
  at: number
  rest: Uint8Array<ArrayBuffer>
  /** What came last, of which `rest` is left. */
  last?: Uint8Array<ArrayBuffer>
}

/**
 * Files below a URL, by fetch; ranges by the Range header. A server that sends whole files instead is left sending until
 * `close()`, so that whoever reads forwards gets a file in one go; only reading backwards asks for it again.
 */
export function urlFiles(base: string | URL): ModelFiles {
  const location = String(base).replace(/\/$/, '')
  const sizes = new Map<string, Promise<number | undefined>>()
  /** What a server without ranges is sending, between two reads. */
  let waiting: Incoming | undefined
  const address = (name: string): string => `${location}/${name}`

  const ask = (name: string, init: RequestInit, signal?: AbortSignal): Promise<Response> =>
    fetch(address(name), { ...init, ...(signal && { signal }) }).catch(cause => {
      // Node says only in the cause's cause what happened; where several addresses were tried, by a code.
      const { message, cause: why } = cause as Error & { readonly cause?: { message?: string; code?: string } }
      const told = [message, why?.message || why?.code].filter(Boolean).join(': ')
      throw signal?.aborted ? signal.reason : new ModelError(`${address(name)}: ${told}`, { cause })
    })

  const size = async (name: string, signal?: AbortSignal): Promise<number | undefined> => {
    // A range is never compressed: without one the length may be that of what was.
    const headers = { range: 'bytes=0-' }
    // Some servers answer no HEAD, or without a length; caches hold answers to GET alone.
    const told = await ask(name, { method: 'HEAD', headers }, signal).then(toldSize, () => 'not told' as const)
    if (told !== 'not told') return told
    const response = await ask(name, { headers }, signal)
    const size = toldSize(response)
    if (size === 'not told' && response.ok) return bodyLength(response)
    await response.body?.cancel()
    if (size === 'not told') throw new ModelError(`${address(name)}: HTTP ${response.status}`)
    return size
  }

  /** The response that has byte `begin` ahead: the one that waits, or another. */
  const open = async (name: string, begin: number, end: number, signal?: AbortSignal) => {
    const before = waiting
    waiting = undefined
    if (before?.name === name && before.at <= begin) return { incoming: before, isWhole: true }
    await before?.reader?.cancel()
    const headers = { range: `bytes=${begin}-${end - 1}` }
    const response = await ask(name, { headers }, signal)
    if (!response.ok) throw new ModelError(`${address(name)}: HTTP ${response.status}`)
    const isWhole = response.status !== 206
    const incoming = { name, reader: response.body?.getReader(), at: isWhole ? 0 : begin, rest: new Uint8Array(0) }
    return { incoming: incoming as Incoming, isWhole }
  }

  async function* chunks(name: string, begin: number, end: number, signal?: AbortSignal) {
    if (begin === end) return // which no Range header can say
    const { incoming, isWhole } = await open(name, begin, end, signal)
    let isDone = false
    try {
      while (incoming.at < end) {
        signal?.throwIfAborted()
        if (incoming.rest.length === 0 && !(await receive(incoming, address(name), signal))) break
        // What lies before `begin` is dropped.
        const piece = take(incoming, incoming.at < begin ? begin : end)
        if (incoming.at > begin) yield piece
      }
      if (
        incoming.at < end ||
        (!isWhole && (incoming.rest.length > 0 || (await receive(incoming, address(name), signal))))
      )
        throw wrongCount(address(name), begin, end, Math.max(0, incoming.at + incoming.rest.length - begin))
      isDone = true
    } finally {
      if (isDone && isWhole && !waiting) waiting = incoming
      else await incoming.reader?.cancel().catch(() => {})
    }
  }

  return {
    location,
    size: (name, signal) => {
      const known = sizes.get(name) ?? size(name, signal)
      sizes.set(name, known)
      known.catch(() => sizes.delete(name))
      return known
    },
    async range(name, begin, end, signal) {
      const bytes = new Uint8Array(end - begin)
      let at = 0
      for await (const chunk of chunks(name, begin, end, signal)) {
        bytes.set(chunk, at)
        at += chunk.length
      }
      return bytes
    },
    chunks,
    async close() {
      const before = waiting
      waiting = undefined
      await before?.reader?.cancel().catch(() => {})
    },
  }
}

/** Waits for more bytes; false where the body has ended. Throws {@link ModelError} where the connection did. */
async function receive(incoming: Incoming, where: string, signal?: AbortSignal): Promise<boolean> {
  try {
    const { done, value } = (await incoming.reader?.read()) ?? { done: true, value: undefined }
    if (done || !value) return false
    free(incoming.last)
    incoming.last = value
    incoming.rest = value
    return true
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    throw new ModelError(`${where}: the connection ended at byte ${incoming.at}: ${(cause as Error).message}`, {
      cause,
    })
  }
}

/**
 * Gives memory back at once, where the runtime can (ES2024). The collector sees little reason to hurry for small objects
 * with large buffers: without this, some 90 MB of them pile up while a model comes over the network. A body's stream is
 * one of bytes, whose chunks own their buffers; a part of a buffer may be anyone's and is left alone.
 */
function free(bytes: Uint8Array<ArrayBuffer> | undefined): void {
  const buffer: (ArrayBuffer & { transfer?: (bytes: number) => ArrayBuffer }) | undefined = bytes?.buffer
  if (buffer && bytes?.byteLength === buffer.byteLength) buffer.transfer?.(0)
}

/** The bytes that are here, up to byte `end` of the file. */
function take(incoming: Incoming, end: number): Uint8Array<ArrayBuffer> {
  const piece = incoming.rest.subarray(0, end - incoming.at)
  incoming.rest = incoming.rest.subarray(piece.length)
  incoming.at += piece.length
  return piece
}

const wrongCount = (where: string, begin: number, end: number, came: number): ModelError =>
  new ModelError(`${where}: bytes ${begin}…${end} were asked for, ${came} came`)
