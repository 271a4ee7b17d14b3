/** Models whose files are in memory: what a script brings along, a bundle embeds, or a cache gave. */
import { ModelError } from './errors.js'
import { CHUNK_BYTES, type ModelFiles } from './files.js'

/** The bytes of a file, or its text. */
export type FileContent = Uint8Array | ArrayBuffer | string

/**
 * The files of a model by their names, as a folder has them: `{ 'config.json': …, 'model.safetensors': … }`. They are read
 * where they are, so must not change while the model loads; nothing of them is held afterwards.
 * @param location what messages call them
 */
export function memoryFiles(files: Readonly<Record<string, FileContent>>, location = 'memory'): ModelFiles {
  const contents = new Map(Object.entries(files).map(([name, content]) => [name, bytesOf(name, content)]))
  const cut = (name: string, begin: number, end: number): Uint8Array => {
    const bytes = contents.get(name)
    if (!bytes) throw new ModelError(`${location} has no ${name}`)
    if (end > bytes.length)
      throw new ModelError(`${location}/${name} ends at byte ${bytes.length} where byte ${end} is needed: truncated?`)
    return bytes.subarray(begin, end)
  }
  return {
    location,
    size: async name => contents.get(name)?.length,
    range: async (name, begin, end) => cut(name, begin, end).slice() as Uint8Array<ArrayBuffer>,
    async *chunks(name, begin, end, signal) {
      for (let at = begin; at < end; at += CHUNK_BYTES) {
        signal?.throwIfAborted()
        yield cut(name, at, Math.min(end, at + CHUNK_BYTES))
      }
    },
    list: async () => [...contents.keys()],
  }
}

function bytesOf(name: string, content: FileContent): Uint8Array {
  if (typeof content === 'string') return new TextEncoder().encode(content)
  if (content instanceof ArrayBuffer) return new Uint8Array(content)
  if (content instanceof Uint8Array) return content
  throw new ModelError(`${name} is given as ${Object.prototype.toString.call(content)}, not as bytes or text`)
}
