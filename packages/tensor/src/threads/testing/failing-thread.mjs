/** A helper thread that, told to by the environment data, dies or hangs with the first part it takes in its hands. */
import { getEnvironmentData } from 'node:worker_threads'

const failure = getEnvironmentData('failing-thread')
const hang = () => {
  for (;;);
}
// What a helper does when it has finished a part.
if (failure === 'dies') Atomics.add = () => process.exit(7)
if (failure === 'hangs') Atomics.add = hang
await import('../../../dist/thread.js')
