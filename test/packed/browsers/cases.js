/** What pages do. JavaScript, since browsers run it as it is; by relative imports alone, since workers have no import map. */
import { cluster, remote, thread } from '../node_modules/@prismal/browser/dist/distribute.js'
import { decodeImage, pipeline, readImage } from '../node_modules/@prismal/browser/dist/index.js'
import { urlFiles } from '../node_modules/@prismal/browser/dist/models.js'
import { check } from '../scripts/check.js'

/** Relative, as a page would have it. */
const VIT = '../node_modules/@prismal/vit-cifar10'
/** Small enough for the reference backend. */
const SMALL = '../reference/vit-square'
const FOLDERS = ['vit-square', 'bert-classify', 'gpt2'].map(name => `../reference/${name}`)

const absolute = location_ => new URL(location_, location.href).href
/** A picture that is the same everywhere. */
const picture = {
  width: 48,
  height: 40,
  data: Uint8Array.from({ length: 48 * 40 * 3 }, (_, i) => (i * 7 + (i >> 5)) & 255),
}

/** What every runtime checks: three models against golden results, alone, on threads, shared. */
export const checked = () =>
  check({
    locations: [...FOLDERS, VIT].map(absolute),
    open: urlFiles,
    ...(typeof Worker !== 'undefined' && { thread: build => thread({ build }) }),
  })

/** The trained model on a picture, in a pipeline made with these options. */
async function classified(options, { input = picture, model = VIT } = {}) {
  const classify = await pipeline('image-classification', model, options)
  try {
    const label = (await classify(input))[0]
    return { label, capabilities: classify.capabilities() }
  } finally {
    await classify.dispose()
  }
}
const failure = promise =>
  promise.then(
    value => ({ value }),
    ({ name, code, message }) => ({ name, code, message }),
  )

export const alone = () => classified({})
export const inWorker = () => classified({ worker: true })
export const shared = () => classified({ devices: cluster(['local', thread({ name: 'helper' })]) })
/** With the device in another process that the page's address names. */
export async function coordinated() {
  const device = new URL(location.href).searchParams.get('device')
  const { label } = await classified({ devices: cluster(['local', remote([device])]) })
  return { label, alone: (await alone()).label }
}
/** Workers that the page starts itself. */
export async function ownWorkers() {
  const started = []
  const start = script => () => {
    started.push(script)
    return new Worker(absolute(`../node_modules/@prismal/browser/dist/${script}.js`), { type: 'module' })
  }
  const devices = cluster(['local', thread({ script: start('worker-thread') })])
  return {
    shared: await classified({ devices }),
    inWorker: await classified({ worker: true, workerScript: start('pipeline-worker') }),
    started,
  }
}
export const together = async () => ({
  alone: await alone(),
  inWorker: await inWorker(),
  shared: await shared(),
})
/** Where the page has no WebCrypto. */
export const plainHttp = async () => ({ isSecure: isSecureContext, alone: await alone(), shared: await shared() })
/** What a service worker can: it has no workers of its own. */
export const single = async () => ({
  alone: await alone(),
  inWorker: await inWorker(),
  shared: await failure(shared()),
})
export const threads = async () => ({
  auto: await classified({ threads: 'auto' }),
  two: await failure(classified({ threads: 2 })),
})
/** What still works where WebAssembly may not be compiled. */
export const reference = async () => ({
  auto: await failure(classified({}, { model: SMALL })),
  reference: await classified({ backend: 'reference' }, { model: SMALL }),
})
/** Workers that cannot be had. */
export const refusedWorkers = async () => ({
  shared: await failure(shared()),
  inWorker: await failure(inWorker()),
})
/** As far as a page gets where the packages are of another origin, or it has none. */
export const elsewhere = async () => ({
  alone: await classified({}),
  inWorker: await classified({ worker: true }),
  shared: await failure(shared()),
})
/** The same with workers of its own that import the packages'. */
export const fromElsewhere = async () => ({
  inWorker: await classified({ worker: true, workerScript: '../scripts/pipeline-worker.js' }),
  shared: await classified({
    devices: cluster(['local', thread({ name: 'helper', script: absolute('../scripts/worker-thread.js') })]),
  }),
})
/** Worker scripts that are not there. */
export const lostScripts = async () => ({
  shared: await failure(
    classified({ devices: cluster(['local', thread({ name: 'helper', script: absolute('./nowhere.js') })]) }),
  ),
  inWorker: await failure(classified({ worker: true, workerScript: absolute('./nowhere.js') })),
})

/** Devices whose threads fail in a way that nothing in them catches. */
export async function dyingDevices() {
  const dying = how => {
    const device = thread({ name: 'helper', script: absolute(`./faulty.js?how=${how}`) })
    return failure(classified({ devices: cluster(['local', device]) }))
  }
  return { thrown: await dying('throw'), rejected: await dying('reject') }
}

/** As in a browser without SIMD: whatever uses it is not valid. */
export async function withoutSimd() {
  WebAssembly.validate = () => false
  return { auto: await classified({}, { model: SMALL }), asked: await failure(classified({ backend: 'simd' })) }
}
/** As where no memory is left. */
export function withoutMemory() {
  WebAssembly.Memory.prototype.grow = () => {
    throw new RangeError('WebAssembly.Memory.grow(): Unable to grow instance memory')
  }
  return failure(alone())
}

/** The page that the documentation shows: what it says in the end. */
export function shown() {
  const frame = Object.assign(document.createElement('iframe'), { src: '../scripts/shown.html' })
  document.body.append(frame)
  return new Promise(resolve =>
    frame.addEventListener('load', () => {
      const line = frame.contentDocument.querySelector('p')
      const look = () => line.textContent !== 'One moment' && resolve(line.textContent)
      new MutationObserver(look).observe(line, { childList: true })
      look()
    }),
  )
}

/** The pixels of pictures however they are given: a digest, their sides, and a few of them. */
export async function images() {
  const told = async image => {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', rgb(image)))
    return { width: image.width, height: image.height, digest: digest.toHex?.() ?? hex(digest) }
  }
  const [png, jpeg] = ['../images/coffee.png', '../images/rocket.jpg']
  const bytes = async address => new Uint8Array(await (await fetch(address)).arrayBuffer())
  const blob = new Blob([await bytes(png)])
  const bitmap = await createImageBitmap(blob)
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
  const context = canvas.getContext('2d')
  context.drawImage(bitmap, 0, 0)
  const sources = {
    address: png,
    url: new URL(png, location.href),
    data: `data:image/png;base64,${base64(await bytes(png))}`,
    blob,
    file: new File([blob], 'coffee.png'),
    bytes: await bytes(png),
    imageData: context.getImageData(0, 0, bitmap.width, bitmap.height),
    bitmap,
    canvas,
    ...(typeof document !== 'undefined' && { element: await element(png) }),
  }
  const found = {}
  for (const [name, source] of Object.entries(sources)) found[name] = await told(await readImage(source))
  return {
    found,
    jpeg: Array.from(rgb(await decodeImage(await bytes(jpeg))).subarray(0, 30_000)),
    labels: {
      here: (await classified({}, { input: png })).label,
      worker: (await classified({ worker: true }, { input: png })).label,
    },
    text: await failure(decodeImage(new TextEncoder().encode('no image'), 'notes.txt')),
    missing: await failure(readImage('../images/none.png')),
  }
}
const rgb = ({ data, channels }) => data.filter((_, i) => channels < 4 || i % 4 < 3)
const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
const base64 = bytes => btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''))
async function element(src) {
  const image = Object.assign(new Image(), { src })
  await image.decode()
  return image
}
