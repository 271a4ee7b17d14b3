/** What runs in a helper thread: the same kernels over the same memory, for parts of the calls that the engine makes. */
import { wasmKernels } from '../backends/wasm.js'
import { ControlBlock, PartTaker, TICKET } from './control.js'
import { spinWhile } from './idle.js'
import { starterPort } from './start-thread.js'

export interface HelperStart {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly control: SharedArrayBuffer
  /** Which helper this is, from 1 on, and of how many. */
  readonly helper: number
  readonly helpers: number
}
export type HelperAnswer = { readonly ready: true } | { readonly error: string }

/** How long a helper looks for the next job before it sleeps, in ms. */
const SPIN_MS = 0.2

async function serve(start: HelperStart, answer: (message: HelperAnswer) => void): Promise<void> {
  let taker: PartTaker
  const block = new ControlBlock(start.helpers, start.control)
  try {
    taker = new PartTaker(block, start.helper, await wasmKernels(start.module, start.memory))
  } catch (error) {
    answer({ error: error instanceof Error ? error.message : String(error) })
    return
  }
  answer({ ready: true })
  for (;;) {
    const seen = taker.take()
    if (block.isLeft) return
    if (!spinWhile(block.words, TICKET, seen, SPIN_MS)) block.sleep(start.helper, seen)
  }
}

const port = starterPort()
port.listen(start => void serve(start as HelperStart, answer => port.post(answer)))
