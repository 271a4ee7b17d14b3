/** Models whose files lie at URLs of their own: what packages export, and what bundlers make of it. */
import { ModelError } from './errors.js'
import { addressOf, type ModelFiles, urlFiles } from './files.js'
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
    urls: Object.fromEntries([...linked].map(([name, { href }]) => [name, href])),
    size: async (name, signal) => {
      const link = linked.get(name)
      return link && (await link.files()).size(link.name, signal)
    },
    range: async (name, begin, end, signal) => {
      const link = find(name)
      return (await link.files()).range(link.name, begin, end, signal)
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
  // Bundlers make URLs, or what they call so, that are relative to the page.
  const href = addressOf(String(url)) ?? String(url)
  if (/^https?:/.test(href)) {
    const files = urlFiles(folderOf(href))
    return { href, name: href.slice(href.lastIndexOf('/') + 1), files: async () => files }
  }
  if (!/^(data|blob):/.test(href)) throw new ModelError(`${name} is at ${href.slice(0, 80)}, which fetch does not read`)
  // What is small enough to be written into an address, or in memory already.
  let content: Promise<ModelFiles> | undefined
  const read = async (): Promise<ModelFiles> => {
    const bytes = href.startsWith('data:') ? dataAt(href) : await (await fetch(href)).arrayBuffer()
    return memoryFiles({ [name]: bytes }, href.slice(0, 80))
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

/**
 * What a `data:` address holds. Policies that let pages fetch from their own origin alone refuse to fetch it.
 * @throws DOMException if its base64 is none
 */
export function dataAt(address: string): Uint8Array<ArrayBuffer> {
  const [, head = '', data = ''] = /^data:([^,]*),([^#]*)/.exec(new URL(address).href) ?? []
  const text = data.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Uint8Array.from(/;\s*base64$/i.test(head) ? atob(text) : text, c => c.charCodeAt(0))
}

const folderOf = (href: string): string =>
  /^https?:/.test(href) ? href.slice(0, href.lastIndexOf('/')) : href.slice(0, 80)
