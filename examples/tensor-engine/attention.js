// Causal self-attention of 8 rows with 2 heads of 4: node attention.js
import { attentionBegin, attentionEnd, attentionFold, createEngine } from '@prismal/tensor'

const [N, H, d] = [8, 2, 4]
const engine = await createEngine()
const scope = engine.scope()
const rows = phase =>
  scope.tensor(
    Float32Array.from({ length: N * H * d }, (_, i) => Math.sin(i + phase)),
    [N, H * d],
  )
const [q, k, v] = [rows(0), rows(1), rows(2)] // [N, H·d]: a row's heads lie side by side

/** softmax(q·kᵀ / √d)·v over key blocks that come one after another; the scores are never stored. */
function attend(blocks) {
  const state = attentionBegin(q, H, 1 / Math.sqrt(d))
  for (const block of blocks) attentionFold(state, block)
  return attentionEnd(state).floats()
}

// Query i sees the keys 0…i. `visible` says how many keys of a block each query sees.
const whole = attend([{ k, v, visible: Array.from({ length: N }, (_, i) => i + 1) }])

// The same in two blocks, as where the second half of the keys came over a network.
const half = N / 2
const seen = from => Array.from({ length: N }, (_, i) => Math.min(half, Math.max(0, i + 1 - from)))
const halves = attend([
  { k: k.slice(0, half), v: v.slice(0, half), visible: seen(0) },
  { k: k.slice(half, N), v: v.slice(half, N), visible: seen(half) },
])
console.log('last row', whole.slice(-H * d))
console.log('largest difference', Math.max(...whole.map((x, i) => Math.abs(x - halves[i]))))
scope.dispose()
engine.dispose()
