/** Models whose files lie at URLs of their own: what packages export, and what bundlers make of it. */
import { ModelError } from './errors.js'
import { type ModelFiles, urlFiles } from './files.js'
import { memoryFiles } from './memory-files.js'

/** The URL of each of a model's files, by its name: `{ 'config.json': …, 'model.safetensors': … }`. */
export type ModelUrls = Readonly<Record<string, URL | string>>

/**
 * A model's files, wherever each lies and whatever it is called there: `http(s):`, `blob:` or `data:`, by fetch. Throws
 * {@link ModelError} where an address is none, or one that fetch does not read everywhere.
 */
export function linkedFiles(urls: ModelUrls): ModelFiles {
  const linked = new Map(Object.entries(urls).map(([name, url]) => [name, linkTo(name, url)]))
  const location = folderOf(linked.get('config.json')?.href ?? [...linked.values()][0]?.href ?? 'nowhere')
  const find = (name: string) => {
    const link = linked.get(name)
    if (!link)
      throw new ModelError(`${location} has no ${name}: of its files only ${[...linked.keys()].join(', ')} are named`)
    return link
  }
  return {
    location,
    size: async name => {
      const link = linked.get(name)
      return link && (await link.files()).size(link.name)
    },
    range: async (name, begin, end) => {
      const link = find(name)
      return (await link.files()).range(link.name, begin, end)
    },
    async *chunks(name, begin, end, signal) {
      const link = find(name)
      yield* (await link.files()).chunks!(link.name, begin, end, signal)
    },
    list: async () => [...linked.keys()],
    close: async () => {
      for (const { files } of linked.values()) await (await files()).close?.()
    },
  }
}

/** A file, and the files that it is one of under that name. */
interface Link {
  readonly href: string
  readonly name: string
  files(): Promise<ModelFiles>
}

function linkTo(name: string, url: URL | string): Link {
  const href = String(url)
  if (/^https?:/.test(href)) {
    const files = urlFiles(folderOf(href))
    return { href, name: href.slice(href.lastIndexOf('/') + 1), files: async () => files }
  }
  if (!/^(data|blob):/.test(href)) throw new ModelError(`${name} is at ${href.slice(0, 80)}, which fetch does not read`)
  // What is small enough to be written into an address, or in memory already.
  let content: Promise<ModelFiles> | undefined
  const read = async (): Promise<ModelFiles> => {
    const response = await fetch(href)
    return memoryFiles({ [name]: await response.arrayBuffer() }, href.slice(0, 80))
  }
  return {
    href,
    name,
    files: () => {
      content ??= read()
      return content
    },
  }
}

const folderOf = (href: string): string =>
  /^https?:/.test(href) ? href.slice(0, href.lastIndexOf('/')) : href.slice(0, 80)
