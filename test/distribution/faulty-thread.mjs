/**
 * The worker script of a device, with a fault planted: its `at`-th message to the coordinator or another device does not
 * leave as it should. The environment data `fault` says which: `{ at, how }`. JavaScript, since Node 20 runs nothing else.
 */
import { getEnvironmentData, MessagePort, parentPort } from 'node:worker_threads'

const { at, how } = getEnvironmentData('fault')
const { postMessage } = MessagePort.prototype
let sent = 0

MessagePort.prototype.postMessage = function (message, transfer) {
  if (this === parentPort || !(message instanceof Uint8Array) || ++sent !== at)
    return postMessage.call(this, message, transfer)
  if (how === 'exit') process.exit(7)
  // Outside of whatever catches here: nothing in the device can answer for it.
  if (how === 'throw')
    process.nextTick(() => {
      throw new Error('planted')
    })
  if (how === 'damage') {
    message[0] ^= 0xff
    postMessage.call(this, message, transfer)
  }
  if (how === 'cut') postMessage.call(this, message.slice(0, -1), [])
}

await import(new URL('../../packages/distribute/dist/worker-thread.js', import.meta.url).href)
