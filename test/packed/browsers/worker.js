/** Runs the case that this script's address, or its page's, names, and posts what it found, or how it failed. */
import * as exported from './cases.js'

const cases = new Map(Object.entries(exported))
const name = new URL(location.href).searchParams.get('case')
const found = Promise.resolve()
  .then(() => cases.get(name)())
  .catch(error => ({ failed: { name: error?.name, code: error?.code, message: String(error?.message ?? error) } }))
  .then(found => fetch('/answer', { method: 'POST', body: JSON.stringify(found) }))

// A service worker lives while it installs.
if ('skipWaiting' in globalThis) globalThis.addEventListener('install', event => event.waitUntil(found))
