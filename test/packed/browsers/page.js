/** Runs the case that the page's address names, where it says: in the page, a worker, a service worker or a frame. */
const { searchParams } = new URL(location.href)
const name = searchParams.get('case')

switch (searchParams.get('in')) {
  case 'worker':
    new Worker(`./worker.js?case=${name}`, { type: 'module' })
    break
  case 'service-worker':
    await navigator.serviceWorker.register(`./worker.js?case=${name}`, { type: 'module' })
    break
  case 'frame':
    document.body.append(Object.assign(document.createElement('iframe'), { src: `./page.html?case=${name}` }))
    break
  default:
    await import('./worker.js')
}
