/** @prismal/tensor: a tensor engine with WebAssembly SIMD kernels, explicit memory and no dependencies. */
export * from './api.js'
export { createEngine } from './create-engine.js'
