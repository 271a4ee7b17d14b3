/** Packages that a transport needs and that are installed by whoever uses it. */
import { ConnectionError } from '../errors.js'

/**
 * Imports an optional peer dependency. Bundlers do not see the name, so a page that never gets here needs no such
 * package. Rejects with `ConnectionError`, which says what to install and for what.
 */
export async function optionalPackage<T>(name: string, purpose: string): Promise<T> {
  try {
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ name)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
    const found = isMissing ? 'is not installed' : `cannot be loaded (${message})`
    const [installed] = name.split('/')
    throw new ConnectionError(`${purpose} needs the package ${installed}, which ${found}: npm install ${installed}`, {
      cause: error,
    })
  }
}
