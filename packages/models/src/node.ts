/** @prismal/models/node: models in folders, where the runtime has folders, and at URLs. */
import type { FileHandle } from 'node:fs/promises'
import { ModelError } from './errors.js'
import { addressOf, CHUNK_BYTES, type ModelFiles, urlFiles } from './files.js'

/** The files of a folder. Throws {@link ModelError} where it is not a folder or the runtime has none. */
export async function folderFiles(path: string): Promise<ModelFiles> {
  // Asked for at run time: an import would break a browser's bundle.
  const builtin = globalThis.process?.getBuiltinModule
  const [files, paths] = [builtin?.('node:fs/promises'), builtin?.('node:path')]
  if (!files || !paths) throw new ModelError(`${path} cannot be opened: this runtime has no folders, so name a URL`)
  const { open, readdir, stat } = files
  const { join } = paths
  const found = await stat(path).catch(() => undefined)
  if (!found?.isDirectory()) throw new ModelError(`${path} is not a folder${found ? '' : ' (it does not exist)'}`)
  /** Files that are being streamed, open until `close()`. */
  const handles = new Map<string, Promise<FileHandle>>()
  /** Buffers that no stream is using. */
  const spare: Uint8Array<ArrayBuffer>[] = []

  return {
    location: path,
    size: name =>
      stat(join(path, name)).then(
        s => (s.isFile() ? s.size : undefined),
        () => undefined,
      ),
    async range(name, begin, end) {
      const bytes = new Uint8Array(end - begin)
      // Opened for each range: whoever reads one file of a folder need not remember to close it.
      const file = await open(join(path, name), 'r')
      try {
        await fill(file, join(path, name), bytes, begin, end)
      } finally {
        await file.close()
      }
      return bytes
    },
    async *chunks(name, begin, end, signal) {
      const opening = handles.get(name) ?? open(join(path, name), 'r')
      handles.set(name, opening)
      const file = await opening
      const buffers = [0, 1].map(() => spare.pop() ?? new Uint8Array(CHUNK_BYTES))
      const read = (turn: number, at: number): Promise<Uint8Array> =>
        fill(file, join(path, name), buffers[turn % 2]?.subarray(0, end - at) as Uint8Array, at, end)
      let ahead: Promise<Uint8Array> | undefined
      try {
        for (let turn = 0, at = begin; at < end; turn++, at += CHUNK_BYTES) {
          signal?.throwIfAborted()
          const chunk: Uint8Array = await (ahead ?? read(turn, at))
          // The next chunk is read while this one is worked on.
          ahead = at + CHUNK_BYTES < end ? read(turn + 1, at + CHUNK_BYTES) : undefined
          ahead?.catch(() => {}) // it is thrown where it is awaited
          yield chunk
        }
      } finally {
        await ahead?.catch(() => {})
        spare.push(...buffers)
      }
    },
    list: () => readdir(path),
    async close() {
      const open = [...handles.values()]
      handles.clear()
      spare.length = 0
      await Promise.all(open.map(async opening => (await opening.catch(() => undefined))?.close()))
    },
  }
}

/** Reads bytes [begin, begin + bytes.length). Throws {@link ModelError} where the file ends before; `end` is for the message. */
async function fill(
  file: FileHandle,
  where: string,
  bytes: Uint8Array,
  begin: number,
  end: number,
): Promise<Uint8Array> {
  let done = 0
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, begin + done)
    if (bytesRead === 0)
      throw new ModelError(`${where} ends at byte ${begin + done} where byte ${end} is needed: truncated?`)
    done += bytesRead
  }
  return bytes
}

/** A folder, or a URL; what is relative is so to the working folder, or to the page. */
export async function openFiles(location: string): Promise<ModelFiles> {
  const address = addressOf(location)
  return address === undefined ? folderFiles(location) : urlFiles(address)
}
