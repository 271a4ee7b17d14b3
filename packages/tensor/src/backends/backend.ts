/** What an engine computes with: the catalogue's kernels over one linear memory. */
import type { Kernels } from '@prismal/kernels/catalogue'

/** The bytes that kernels work on. `buffer` is replaced when memory grows: never keep a view of it across a call. */
export interface LinearMemory {
  readonly buffer: ArrayBufferLike
}

export type Build = 'reference' | 'simd' | 'relaxed-simd'

export interface Backend {
  readonly build: Build
  readonly kernels: Kernels
}
