/** What @prismal/tensor exports in every runtime; `createEngine` is the entries' own. */
export {
  ACTIVATIONS,
  type Activation,
  catalogue,
  type KernelName,
  type Kernels,
  PANEL,
} from '@prismal/kernels/catalogue'
export type { ArenaState, PeakWatch } from './arena.js'
export { type AttentionState, attentionBegin, attentionEnd, attentionFold, type KeyBlock } from './attention.js'
export type { Build } from './backends/backend.js'
export { capabilities, type Lack, type RuntimeCapabilities } from './capabilities.js'
export { availableBuilds, type Capabilities, type Engine, type EngineOptions } from './engine.js'
export * from './errors.js'
export { emptyMatrix, type Matrix, PRECISIONS, type Precision } from './matrix.js'
export { MAX_MEMORY_BYTES } from './memory.js'
export {
  add,
  dequantiseRows,
  fromBf16,
  fromF16,
  fromI8,
  gather,
  gelu,
  geluTanh,
  innerProducts,
  type LinearOptions,
  layerNorm,
  linear,
  matmul,
  pack,
  quantiseRows,
  type Run,
  relu,
  segmentMeans,
  softmax,
  tanh,
  toF16,
  transpose,
} from './operations.js'
export { copyValues, packColumns, packLines, padPanels, scaleColumns, storePanels } from './packing.js'
export { productRate } from './product-rate.js'
export { type RehearsalOptions, rehearsalEngine } from './rehearsal.js'
export { isWorkerd } from './runtime.js'
export { type Dtype, describe, type Meter, type Scope, type Tensor, type TypedArray } from './tensor.js'
export { availableThreads, haveWorkers, haveWorkerThreads } from './threads/available.js'
export {
  type OwnScript,
  type StarterPort,
  starterPort,
  startThread,
  type Thread,
  type ThreadScript,
  type WorkerLike,
} from './threads/start-thread.js'
export { unlessAborted } from './unless-aborted.js'
export type { ModuleSource } from './wasm-source.js'
