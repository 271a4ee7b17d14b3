/** Waiting without giving the core away: between the kernels of one forward a wake-up would take longer than the gap. */

/** Tells the processor that this is a waiting loop, where the runtime can (`Atomics.pause`). */
export const pause: () => void = (Atomics as { pause?: () => void }).pause?.bind(Atomics) ?? (() => {})

/** Turns between two looks at the clock. */
const TURNS = 64

/** Spins while `words[at]` is `value`, for about `spinMs` at most; whether it has changed. */
export function spinWhile(words: Int32Array, at: number, value: number, spinMs: number): boolean {
  const until = performance.now() + spinMs
  do {
    for (let turn = 0; turn < TURNS; turn++) {
      if (Atomics.load(words, at) !== value) return true
      pause()
    }
  } while (performance.now() < until)
  return false
}

/** Whether this thread may sleep in `Atomics.wait`: that of a page may not. */
export function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0)
    return true
  } catch {
    return false
  }
}
