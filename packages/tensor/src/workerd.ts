/** @prismal/tensor in workerd, which runs no WebAssembly but what is imported. */
import { type Engine, type EngineOptions, makeEngine } from './engine.js'
import { kernelModule } from './wasm-modules.js'

export * from './api.js'

/** As in every runtime; by default on the kernels that come with the script. */
export function createEngine(options: EngineOptions = {}): Promise<Engine> {
  return makeEngine(options, { kernelsOf: kernelModule })
}
