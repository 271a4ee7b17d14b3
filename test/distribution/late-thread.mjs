/** The worker script of a device that is slow to take what the main thread gives it. JavaScript, since Node 20 runs nothing else. */
import { MessagePort, parentPort } from 'node:worker_threads'

const { on } = MessagePort.prototype
/** Turns of the event loop. */
const LATE = 200

MessagePort.prototype.on = function (event, listener) {
  if (this !== parentPort || event !== 'message') return on.call(this, event, listener)
  const later = (turns, message) => (turns > 0 ? setImmediate(later, turns - 1, message) : listener(message))
  return on.call(this, event, message => later(LATE, message))
}

await import(new URL('../../packages/distribute/dist/worker-thread.js', import.meta.url).href)
