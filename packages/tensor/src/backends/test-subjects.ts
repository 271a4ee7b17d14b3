/** The backends that tests run over: the reference, and every wasm build this runtime can run. Only tests import this. */
import { readFileSync } from 'node:fs'
import type { Kernels } from '@prismal/kernels/catalogue'
import type { LinearMemory } from './backend.js'
import { referenceKernels } from './reference.js'
import { detectWasm, wasmKernels } from './wasm.js'

export interface Subject {
  readonly build: string
  readonly kernels: Kernels
  readonly memory: LinearMemory
}

const PAGES = 64

const plain = { buffer: new ArrayBuffer(PAGES * 65536) }
export const reference: Subject = { build: 'reference', kernels: referenceKernels(plain), memory: plain }

const features = detectWasm()
export const wasmBuilds: readonly Subject[] = await Promise.all(
  [...(features.simd ? ['simd'] : []), ...(features.relaxedSimd ? ['relaxed-simd'] : [])].map(async build => {
    const file = new URL(`../../../../kernels-as/build/prismal-${build}.wasm`, import.meta.url)
    const memory = new WebAssembly.Memory({ initial: PAGES })
    return { build, kernels: await wasmKernels(new WebAssembly.Module(readFileSync(file)), memory), memory }
  }),
)

const compiled = (file: string): WebAssembly.Module =>
  new WebAssembly.Module(readFileSync(new URL(`../../../../kernels-as/build/prismal-${file}.wasm`, import.meta.url)))
/** The compiled module of a build, for a memory of one thread … */
export const plainModule = (build: string): WebAssembly.Module => compiled(build)
/** … and for one that threads share. */
export const sharedModule = (build: string): WebAssembly.Module => compiled(`${build}-threads`)

/** The helpers' script, built. */
export const threadScript = new URL('../../dist/thread.js', import.meta.url)

/** Why a build is not among them. */
export const skipped: readonly string[] = [
  ...(features.simd ? [] : ['simd (this runtime has no WebAssembly SIMD)']),
  ...(features.relaxedSimd ? [] : ['relaxed-simd (this runtime has no relaxed SIMD)']),
]

/** Runs a kernel over a copy of `bytes`, from address 0 on; returns what it returned and the memory afterwards. */
export function run(subject: Subject, bytes: Uint8Array, kernel: (kernels: Kernels) => number) {
  const memory = new Uint8Array(subject.memory.buffer)
  memory.set(bytes)
  const returned = kernel(subject.kernels)
  return { returned, after: memory.slice(0, bytes.length) }
}

/** Puts arrays one after another into a subject's memory and reads results back: what hand-written cases need. */
export class Desk {
  readonly kernels: Kernels
  readonly #subject: Subject
  #end = 64

  constructor(subject: Subject) {
    this.#subject = subject
    this.kernels = subject.kernels
  }

  /** Address of `bytes` zeroed bytes. */
  space(bytes: number): number {
    const address = this.#end
    this.#end = Math.ceil((address + bytes + 16) / 16) * 16
    new Uint8Array(this.#subject.memory.buffer, address, bytes).fill(0)
    return address
  }

  f32(values: ArrayLike<number>): number {
    const address = this.space(values.length * 4)
    new Float32Array(this.#subject.memory.buffer, address, values.length).set(values)
    return address
  }

  i32(values: ArrayLike<number>): number {
    const address = this.space(values.length * 4)
    new Int32Array(this.#subject.memory.buffer, address, values.length).set(values)
    return address
  }

  u16(values: ArrayLike<number>): number {
    const address = this.space(values.length * 2)
    new Uint16Array(this.#subject.memory.buffer, address, values.length).set(values)
    return address
  }

  readF32(address: number, length: number): number[] {
    return [...new Float32Array(this.#subject.memory.buffer, address, length)]
  }

  readU32(address: number, length: number): number[] {
    return [...new Uint32Array(this.#subject.memory.buffer, address, length)]
  }

  readU16(address: number, length: number): number[] {
    return [...new Uint16Array(this.#subject.memory.buffer, address, length)]
  }

  readI8(address: number, length: number): number[] {
    return [...new Int8Array(this.#subject.memory.buffer, address, length)]
  }
}
