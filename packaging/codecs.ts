/** The decoders of `@jsquash`, in `dist/codecs`; the encoders that come with them stay behind. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import binaryen from 'binaryen'

const { resolve } = createRequire(import.meta.url)

export function copyCodecs(): void {
  mkdirSync('dist/codecs', { recursive: true })
  copyFileSync(resolve('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm'), 'dist/codecs/mozjpeg_dec.wasm')
  const png = readFileSync(resolve('@jsquash/png/codec/pkg/squoosh_png_bg.wasm'))
  writeFileSync('dist/codecs/squoosh_png_bg.wasm', without(png, ['encode', 'decode_rgba16']))
}

/** A module without some of its exports and what only they use: a third of the PNG codec. The rest is as it was. */
function without(wasm: Uint8Array, exported: readonly string[]): Uint8Array {
  const module = binaryen.readBinary(wasm)
  for (const name of exported) module.removeExport(name)
  module.runPasses(['remove-unused-module-elements'])
  const smaller = module.emitBinary()
  module.dispose()
  return smaller
}
