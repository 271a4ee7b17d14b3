/**
 * Compiles the kernels: build/prismal-simd.wasm for every engine with WebAssembly SIMD, build/prismal-relaxed-simd.wasm
 * for those with relaxed SIMD too, and each again as prismal-…-threads.wasm for a memory that threads share. Run it in
 * this folder.
 */
import { readFile, writeFile } from 'node:fs/promises'
import asc from 'assemblyscript/asc'
import { KERNEL_NAMES } from './catalogue.js'
import { catalogueDigest, VERSION_SECTION } from './digest.js'

// Every engine's memory has a page. Where the runtime checks bounds in code, as Deno does, a module that knows of none has
// two checks for each access instead of one.
const MEMORY = ['--importMemory', '--noExportMemory', '--initialMemory', '1']
// Level 3 moves products of one step past the next step's loads: a tile's operands are then more than there are
// registers. The two passes make what level 2 leaves as small as it does.
const OPTIMISE = ['-O2', '--runPasses', 'coalesce-locals,reorder-locals']
const RELAXED = ['--enable', 'relaxed-simd']
const SHARED = ['--enable', 'threads', '--sharedMemory', '--maximumMemory', '65536']
const BUILDS = {
  simd: [],
  'relaxed-simd': RELAXED,
  'simd-threads': SHARED,
  'relaxed-simd-threads': [...RELAXED, ...SHARED],
}

for (const [build, features] of Object.entries(BUILDS)) {
  const outFile = `build/prismal-${build}.wasm`
  const { error, stderr } = await asc.main([
    'assembly/index.ts',
    ...[...OPTIMISE, '--noAssert', '--runtime', 'stub', '--enable', 'simd', ...features],
    ...[...MEMORY, '--outFile', outFile],
  ])
  process.stderr.write(stderr.toString())
  if (error) throw error
  const bytes = Buffer.concat([
    await readFile(outFile),
    customSection(VERSION_SECTION, `${build.replace('-threads', '')} ${catalogueDigest()}`),
  ])
  await writeFile(outFile, bytes)
  checkModule(outFile, bytes)
  console.log(`${outFile}: ${bytes.length} bytes, ${KERNEL_NAMES.length} kernels`)
}

/** A custom section: id 0, its size, and a name and a text with theirs, all sizes below 128. */
function customSection(name: string, text: string): Uint8Array {
  const content = [name.length, ...Buffer.from(name), ...Buffer.from(text)]
  return Uint8Array.of(0, content.length, ...content)
}

/** Throws unless the module exports exactly the catalogue's kernels and holds no data segment. */
function checkModule(file: string, bytes: Uint8Array<ArrayBuffer>): void {
  // Data would be written into memory that belongs to tensors, again by every thread that instantiates the module.
  if (sectionIds(bytes).includes(11)) throw new Error(`${file}: has a data segment; a kernel must not use static data`)
  // A Node without relaxed SIMD cannot compile that build; its exports are those of the other one, from the same index.
  if (!WebAssembly.validate(bytes)) {
    if (file.includes('relaxed')) return
    throw new Error(`${file} is not valid WebAssembly`)
  }
  const exported = WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name)
  const missing = KERNEL_NAMES.filter(name => !exported.includes(name))
  const unlisted = exported.filter(name => !(KERNEL_NAMES as string[]).includes(name))
  if (missing.length > 0) throw new Error(`${file}: no kernel for the catalogue's ${missing.join(', ')}`)
  if (unlisted.length > 0) throw new Error(`${file}: exports ${unlisted.join(', ')}, which the catalogue lacks`)
}

/** Ids of the module's sections: after 8 bytes of header, each is an id, a LEB128 size and that many bytes. */
function sectionIds(bytes: Uint8Array): number[] {
  const ids: number[] = []
  for (let at = 8; at < bytes.length; ) {
    ids.push(bytes[at++]!)
    let size = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!
      size |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    at += size
  }
  return ids
}
