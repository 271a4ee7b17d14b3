/** The script of a device that dies of what nobody catches, once it has joined: `?how=throw` or `?how=reject`. */
import '../node_modules/@prismal/browser/dist/worker-thread.js'

const how = new URL(location.href).searchParams.get('how')
globalThis.addEventListener('message', ({ data }) => {
  if (!('open' in data)) return
  const planted = new Error('planted')
  if (how === 'throw') throw planted
  void Promise.reject(planted)
})
