/** What the codecs in WebAssembly have in common: their module, and the RGBA that they give. */
import type { Image } from '@prismal/models'
import { UnavailableError } from '@prismal/tensor'

/**
 * Compiles a codec once, at the first picture. Found as Node finds modules, so that bundled code finds it too.
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
      const path = modules.createRequire(import.meta.url).resolve(`prismal/codecs/${file}`)
      return await WebAssembly.compile(new Uint8Array(await files.readFile(path)))
    } catch (cause) {
      const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
      const advice = typeof WebAssembly === 'undefined' ? 'give pixels' : 'install prismal'
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
