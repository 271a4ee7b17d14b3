/** Where a model's files come from: a folder, a URL, or anything that can read ranges. */
import { ModelError } from './errors.js'

/** The files of one model, read by name. */
export interface ModelFiles {
  /** The folder or URL, as messages name it and as another device would open it. */
  readonly location: string
  /** Bytes of a file, or undefined where it does not exist. */
  size(name: string): Promise<number | undefined>
  /** Bytes [begin, end) of a file. Throws {@link ModelError} where it ends before. */
  range(name: string, begin: number, end: number): Promise<Uint8Array<ArrayBuffer>>
  /** The names of all files, where the source can tell. */
  list?(): Promise<readonly string[]>
  /** Gives up what is held open. */
  close?(): Promise<void>
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

/**
 * Files below a URL, by fetch; ranges by the Range header. Of a server that sends whole files instead, the file that was
 * read last is kept until `close()`, so that it is not fetched again for each tensor.
 */
export function urlFiles(base: string | URL): ModelFiles {
  const location = String(base).replace(/\/$/, '')
  const sizes = new Map<string, Promise<number | undefined>>()
  let whole: { readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> } | undefined
  const address = (name: string): string => `${location}/${name}`
  const size = async (name: string): Promise<number | undefined> => {
    const response = await fetch(address(name), { method: 'HEAD' })
    if (response.status === 404) return undefined
    const length = Number(response.headers.get('content-length') ?? Number.NaN)
    if (!response.ok || !Number.isFinite(length))
      throw new ModelError(`${address(name)}: HTTP ${response.status}, content-length ${length}`)
    return length
  }
  return {
    location,
    size: name => {
      const known = sizes.get(name) ?? size(name)
      sizes.set(name, known)
      return known
    },
    async range(name, begin, end) {
      if (begin === end) return new Uint8Array(0) // which no Range header can say
      if (whole?.name === name) return within(address(name), whole.bytes.slice(begin, end), begin, end)
      const response = await fetch(address(name), { headers: { range: `bytes=${begin}-${end - 1}` } })
      if (!response.ok) throw new ModelError(`${address(name)}: HTTP ${response.status}`)
      const bytes = new Uint8Array(await response.arrayBuffer())
      if (response.status === 206) return within(address(name), bytes, begin, end)
      whole = { name, bytes }
      return within(address(name), bytes.slice(begin, end), begin, end)
    },
    async close() {
      whole = undefined
    },
  }
}

function within(where: string, part: Uint8Array<ArrayBuffer>, begin: number, end: number): Uint8Array<ArrayBuffer> {
  if (part.length !== end - begin)
    throw new ModelError(`${where}: bytes ${begin}…${end} were asked for, ${part.length} came`)
  return part
}
