// A matrix product, and what it ran on: node matmul.js
import { createEngine } from '@prismal/tensor'

const engine = await createEngine()
const { build, threads, reasons } = engine.capabilities()
console.log(`${build}, ${threads} thread`, reasons) // the reasons: why nothing faster

// What is made in a scope is freed with it; the engine's own scope lasts as long as the engine.
const scope = engine.scope()
const a = scope.tensor([1, 2, 3, 4, 5, 6], [2, 3])
const b = scope.tensor([1, 0, 0, 1, 1, 1], [3, 2])
console.log(engine.matmul(a, b).floats()) // [2, 3] × [3, 2] → [2, 2]: 4, 5, 10, 11

try {
  engine.matmul(a, a)
} catch (error) {
  console.log(error.code, error.message) // shapes are checked, and named
}
scope.dispose()
engine.dispose()
