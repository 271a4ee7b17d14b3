/** Reads, converts and writes checkpoints. */
export type { CheckpointTensor, ConvertedModel, Dtype, StateDict, Storage } from './checkpoint.js'
export { contiguousBytes, ELEMENT_BYTES, elementsOf } from './checkpoint.js'
export { type ConvertOptions, convert, SOURCES, type Source } from './convert.js'
export { CheckpointError, ConversionError, RefusedGlobalError } from './errors.js'
export { type Checkpoint, readCheckpoint, writeModelFolder } from './files.js'
export { type Precision, type StoreOptions, storeModel } from './precision.js'
export { readPytorch } from './pytorch.js'
export { readSafetensors, writeSafetensors } from './safetensors.js'
