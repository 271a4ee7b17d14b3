/** Models that came over the network, kept in a folder of the user's. */
import { constants, existsSync } from 'node:fs'
import { mkdir, open, rename, rm, truncate } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { NatsConnection } from '@nats-io/nats-core'
import { checkDigest, fetchModel, type ModelFolder, type ModelStoreOptions } from '@prismal/distribute/nats'

/** `$XDG_CACHE_HOME/prismal`, or `~/.cache/prismal`. */
export const cacheFolder = (): string => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'prismal')

export interface StoredModelOptions extends ModelStoreOptions {
  /** Default: {@link cacheFolder}. */
  readonly cacheDir?: string
}

/**
 * The folder of a model that the server's Object Store has, brought here where the cache lacks it: into
 * `CACHE/DIGEST.partial`, which becomes `CACHE/DIGEST` once every part was compared with the manifest. An attempt that was
 * cut off is continued. After loading compare the model's `digest` with this one: the caller's word, not the server's.
 */
export async function modelFromStore(
  nc: NatsConnection,
  digest: string,
  { cacheDir = cacheFolder(), ...options }: StoredModelOptions = {},
): Promise<string> {
  checkDigest(digest)
  const folder = join(cacheDir, digest)
  if (existsSync(folder)) return folder
  const partial = `${folder}.partial`
  try {
    await fetchModel(nc, digest, folderOf(partial), options)
    await rename(partial, folder)
  } catch (error) {
    // Another process may have finished meanwhile.
    if (!existsSync(folder)) throw error
    await rm(partial, { recursive: true, force: true })
  }
  return folder
}

function folderOf(path: string): ModelFolder {
  return {
    async read(file, from, length) {
      const handle = await open(join(path, file), 'r').catch(() => undefined)
      if (!handle) return undefined
      try {
        const bytes = new Uint8Array(length)
        let at = 0
        while (at < length) {
          const { bytesRead } = await handle.read(bytes, at, length - at, from + at)
          if (bytesRead === 0) return undefined
          at += bytesRead
        }
        return bytes
      } finally {
        await handle.close()
      }
    },
    async write(file, from, bytes) {
      const where = join(path, file)
      await mkdir(dirname(where), { recursive: true })
      const handle = await open(where, constants.O_RDWR | constants.O_CREAT)
      try {
        // Nothing else is touched: another process may be writing the same bytes.
        await handle.write(bytes, 0, bytes.length, from)
      } finally {
        await handle.close()
      }
    },
    async end(file, bytes) {
      await truncate(join(path, file), bytes)
    },
  }
}
