/** A web site on loopback for pages under test, with the headers that a case is about, and what its pages answer. */
import { serveFolders } from './serve-folders.js'

/** What makes a page cross-origin isolated, so that its memory can be shared. */
export const ISOLATED = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
}

/** The content security policy that docs/browsers.md says suffices. */
export const STRICT = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"

export interface Site {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string
  /** Resolves to what a page posts to `/answer`, as JSON, the next time. */
  answer(): Promise<unknown>
  close(): Promise<void>
}

export async function openSite(
  folders: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Site> {
  const waiting: ((answer: unknown) => void)[] = []
  const served = await serveFolders(folders, headers, body => waiting.shift()?.(JSON.parse(body)))
  return { ...served, answer: () => new Promise(resolve => waiting.push(resolve)) }
}
