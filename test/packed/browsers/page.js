/** Runs the case that the page's address names, where it says: in the page, a worker, a service worker or a frame; with scripts `from` another origin. */
const { searchParams } = new URL(location.href)
const name = searchParams.get('case')
const frame = { src: `./page.html?case=${name}` }

switch (searchParams.get('in')) {
  case 'worker':
    new Worker(`./worker.js?case=${name}`, { type: 'module' })
    break
  case 'service-worker':
    await navigator.serviceWorker.register(`./worker.js?case=${name}`, { type: 'module' })
    break
  case 'frame':
    document.body.append(Object.assign(document.createElement('iframe'), frame))
    break
  case 'sandbox':
    document.body.append(Object.assign(document.createElement('iframe'), { ...frame, sandbox: 'allow-scripts' }))
    break
  default:
    await import(new URL('/browsers/worker.js', searchParams.get('from') ?? location.href))
}
