/** One linear memory per engine: a `WebAssembly.Memory`, or plain bytes where WebAssembly is missing. */
import type { LinearMemory } from './backends/backend.js'
import { MemoryError } from './errors.js'

export const PAGE_BYTES = 65536
/** wasm32 addresses 4 GiB; the last page stays unused so that an end address fits 32 bits. */
export const MAX_MEMORY_BYTES = 65535 * PAGE_BYTES

/** A memory that grows and never shrinks. Growing replaces `buffer`, so no view of it outlives a call. */
export interface GrowableMemory extends LinearMemory {
  readonly bytes: number
  /** Makes at least `bytes` addressable. Throws {@link MemoryError} where the runtime refuses. */
  ensure(bytes: number): void
}

export class WasmMemory implements GrowableMemory {
  readonly wasm: WebAssembly.Memory
  /**
   * `shared`: of a SharedArrayBuffer, which threads may share. Only modules built for such a memory take it. Throws
   * {@link MemoryError} where the runtime refuses.
   */
  constructor(shared = false) {
    try {
      this.wasm = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared })
    } catch (cause) {
      throw new MemoryError(
        `memory: no room for another engine: dispose of one, or raise the limit of address space (ulimit -v): ${(cause as Error).message}`,
        PAGE_BYTES,
      )
    }
  }
  get buffer(): ArrayBufferLike {
    return this.wasm.buffer
  }
  get bytes(): number {
    return this.wasm.buffer.byteLength
  }
  ensure(bytes: number): void {
    const missing = bytes - this.bytes
    if (missing <= 0) return
    if (bytes > MAX_MEMORY_BYTES) throw tooLarge(bytes, MAX_MEMORY_BYTES, "wasm's 4 GiB")
    try {
      this.wasm.grow(Math.ceil(missing / PAGE_BYTES))
    } catch {
      throw new MemoryError(`memory: this runtime refused to grow from ${this.bytes} to ${bytes} bytes`, missing)
    }
  }
}

/** For the reference backend where WebAssembly does not exist. */
export class PlainMemory implements GrowableMemory {
  #buffer = new ArrayBuffer(PAGE_BYTES)
  get buffer(): ArrayBufferLike {
    return this.#buffer
  }
  get bytes(): number {
    return this.#buffer.byteLength
  }
  ensure(bytes: number): void {
    if (bytes <= this.bytes) return
    if (bytes > MAX_MEMORY_BYTES) throw tooLarge(bytes, MAX_MEMORY_BYTES, 'the address space of an engine')
    const grown = new ArrayBuffer(Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES)
    new Uint8Array(grown).set(new Uint8Array(this.#buffer))
    this.#buffer = grown
  }
}

export const tooLarge = (asked: number, limit: number, what: string): MemoryError =>
  new MemoryError(`memory: ${asked} bytes are needed, ${asked - limit} more than ${what} (${limit})`, asked - limit)
