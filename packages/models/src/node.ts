/** @prismal/models/node: models in folders. */
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ModelError } from './errors.js'
import { type ModelFiles, urlFiles } from './files.js'

/** The files of a folder. Throws {@link ModelError} where it is not a folder. */
export async function folderFiles(path: string): Promise<ModelFiles> {
  const found = await stat(path).catch(() => undefined)
  if (!found?.isDirectory()) throw new ModelError(`${path} is not a folder${found ? '' : ' (it does not exist)'}`)
  const handles = new Map<string, Promise<FileHandle>>()
  const handle = (name: string): Promise<FileHandle> => {
    const known = handles.get(name) ?? open(join(path, name), 'r')
    handles.set(name, known)
    return known
  }
  return {
    location: path,
    size: name =>
      stat(join(path, name)).then(
        s => (s.isFile() ? s.size : undefined),
        () => undefined,
      ),
    async range(name, begin, end) {
      const bytes = new Uint8Array(end - begin)
      let done = 0
      while (done < bytes.length) {
        const { bytesRead } = await (await handle(name)).read(bytes, done, bytes.length - done, begin + done)
        if (bytesRead === 0)
          throw new ModelError(`${join(path, name)} ends at byte ${begin + done} where byte ${end} is needed: truncated?`)
        done += bytesRead
      }
      return bytes
    },
    list: () => readdir(path),
    async close() {
      const open = [...handles.values()]
      handles.clear()
      for (const h of open) await h.then(f => f.close()).catch(() => {})
    },
  }
}

/** A folder or, where the location is an http(s) address, a URL. */
export async function openFiles(location: string): Promise<ModelFiles> {
  return /^https?:/.test(location) ? urlFiles(location) : folderFiles(location)
}
