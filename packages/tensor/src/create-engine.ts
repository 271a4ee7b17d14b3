/** Engines whose kernels are files beside this one. */
import { type Engine, type EngineOptions, makeEngine } from './engine.js'
import { kernelFile } from './wasm-files.js'

/**
 * Makes an engine with a memory of its own. Throws {@link UnavailableError} for a build or threads that this runtime lacks
 * or a module that cannot be had, {@link OperandError} for options that are none.
 */
export function createEngine(options: EngineOptions = {}): Promise<Engine> {
  return makeEngine(options, { kernelsOf: kernelFile })
}
