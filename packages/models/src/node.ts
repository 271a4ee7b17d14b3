/** @prismal/models/node: models in folders. */
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ModelError } from './errors.js'
import { type ModelFiles, urlFiles } from './files.js'

/** The files of a folder. Throws {@link ModelError} where it is not a folder. */
export async function folderFiles(path: string): Promise<ModelFiles> {
  const found = await stat(path).catch(() => undefined)
  if (!found?.isDirectory()) throw new ModelError(`${path} is not a folder${found ? '' : ' (it does not exist)'}`)
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
        let done = 0
        while (done < bytes.length) {
          const { bytesRead } = await file.read(bytes, done, bytes.length - done, begin + done)
          if (bytesRead === 0)
            throw new ModelError(
              `${join(path, name)} ends at byte ${begin + done} where byte ${end} is needed: truncated?`,
            )
          done += bytesRead
        }
      } finally {
        await file.close()
      }
      return bytes
    },
    list: () => readdir(path),
  }
}

/** A folder or, where the location is an http(s) address, a URL. */
export async function openFiles(location: string): Promise<ModelFiles> {
  return /^https?:/.test(location) ? urlFiles(location) : folderFiles(location)
}
