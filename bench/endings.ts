/** What must not be left behind: undone when it is no longer needed, and else when this process exits, by a signal too. */

const held = new Set<() => void>()
let isWatching = false

/** Runs `undo`, which may not wait for anything, when this process exits. Returns a function that forgets it. */
export function atExit(undo: () => void): () => void {
  watch()
  held.add(undo)
  return () => void held.delete(undo)
}

function watch(): void {
  if (isWatching) return
  isWatching = true
  process.once('exit', () => {
    // What was made last is undone first: processes before the network that they are in.
    for (const undo of [...held].toReversed()) undo()
  })
  // Exit codes as a shell gives them: 128 and the signal's number.
  for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }))
    process.once(signal, () => process.exit(code))
}
