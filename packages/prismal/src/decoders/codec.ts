/** What the codecs in WebAssembly have in common: their module, and the RGBA that they give. */
import type { Image } from '@prismal/models'
import { MemoryError, UnavailableError } from '@prismal/tensor'

/**
 * Compiles a codec once, at the first picture. Looked for beside this code, bundled or not, then as Node finds modules.
 * @param file a file in this package's `codecs`
 * @param format what messages call the pictures
 * @returns resolves to the module, or rejects with an UnavailableError if the file is not there or nothing runs it
 */
export function codecModule(file: string, format: string): () => Promise<WebAssembly.Module> {
  let compiled: Promise<WebAssembly.Module> | undefined
  const compile = async () => {
    try {
      const builtin = globalThis.process?.getBuiltinModule
      const [modules, files] = [builtin?.('node:module'), builtin?.('node:fs/promises')]
      if (!modules || !files) throw new Error('this runtime has no files')
      const beside = new URL(/* webpackIgnore: true */ /* @vite-ignore */ `codecs/${file}`, import.meta.url)
      const installed = () => modules.createRequire(import.meta.url).resolve(`prismal/codecs/${file}`)
      const bytes = await files.readFile(beside).catch(() => files.readFile(installed()))
      return await WebAssembly.compile(new Uint8Array(bytes))
    } catch (cause) {
      const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
      const advice =
        typeof WebAssembly === 'undefined'
          ? 'give pixels'
          : "install prismal, or put its dist/codecs beside the bundle's file"
      throw new UnavailableError(`${format} cannot be read: ${file} does not load (${why}); ${advice}`, {
        cause,
      })
    }
  }
  return () => {
    compiled ??= compile()
    return compiled
  }
}

/** The first channels of each pixel; of grey that is one of three equal ones. */
export function fromRgba(
  rgba: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
  channels: Image['channels'],
): Image {
  const data = new Uint8Array(width * height * channels)
  for (let from = 0, to = 0; to < data.length; from += 4) {
    for (let c = 0; c < channels; c++) data[to++] = rgba[from + c]!
  }
  return { width, height, channels, data }
}

/** An instance for one file. Throws `MemoryError` where the runtime has no room for its memory. */
export function codecInstance(module: WebAssembly.Module, imports: WebAssembly.Imports): WebAssembly.Instance {
  try {
    return new WebAssembly.Instance(module, imports)
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new MemoryError(
      `an image's decoder has no memory (${cause.message}): raise the limit of address space (ulimit -v), or give pixels`,
      0,
    )
  }
}
