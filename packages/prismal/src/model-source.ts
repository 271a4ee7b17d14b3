/** What people give as a model: a name or place, its files, or the URLs of its files as model packages export them. */
import { addressOf, InputError, kindOf, linkedFiles, type ModelFiles, type ModelUrls } from '@prismal/models'

/**
 * A folder, a URL or an installed package; the URL of a folder; the files themselves (`memoryFiles`); or the URLs of the
 * files, as `@prismal/vit-cifar10` exports them.
 */
export type ModelSource = string | URL | ModelFiles | ModelUrls

/** A name or place that can be told to another thread or device, where there is one; else files. */
export function placeOrFiles(source: ModelSource | null | undefined): string | ModelFiles | undefined {
  if (source === undefined || source === null) return undefined
  if (typeof source === 'string') return source
  if (typeof source !== 'object' || Array.isArray(source))
    throw new InputError(`a model is a folder, a URL, a package, its files or their URLs; ${kindOf(source)} was given`)
  if (source instanceof URL) return placeOf(source.href)
  if (isFiles(source)) return source
  const folder = folderOfAll(source)
  return folder === undefined ? linkedFiles(source) : placeOf(folder)
}

/** The addresses of a model's files, as another thread can be told them; undefined where the files themselves were given. */
export function addressesOf(source: ModelSource | null | undefined): ModelUrls | undefined {
  if (typeof source !== 'object' || source === null || source instanceof URL || isFiles(source)) return undefined
  return Object.fromEntries(Object.entries(source).map(([name, url]) => [name, addressOf(String(url)) ?? String(url)]))
}

const isFiles = (source: ModelFiles | ModelUrls): source is ModelFiles =>
  typeof (source as ModelFiles).range === 'function'

/** The URL of the one folder that has every file under its own name. */
function folderOfAll(urls: ModelUrls): string | undefined {
  const folders = Object.entries(urls).map(([name, url]) =>
    String(url).endsWith(`/${name}`) ? String(url).slice(0, -name.length) : undefined,
  )
  return folders.length > 0 && new Set(folders).size === 1 ? folders[0] : undefined
}

/** As people name a place: a folder's path rather than its URL. */
function placeOf(href: string): string {
  const fileURLToPath = globalThis.process?.getBuiltinModule?.('node:url').fileURLToPath
  return href.startsWith('file:') && fileURLToPath ? fileURLToPath(href) : href
}
