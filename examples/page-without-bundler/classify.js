import { pipeline } from '@prismal/browser'

const input = document.querySelector('input')
const output = document.querySelector('output')

// The folder's address, as a page has no packages. In a worker, so that the page stays responsive.
const model = new URL('node_modules/@prismal/vit-cifar10/', document.baseURI).href
const classify = await pipeline('image-classification', model, { worker: true })
output.textContent = 'ready'
input.disabled = false

input.addEventListener('change', async () => {
  try {
    const labels = await classify(input.files[0], { topk: 3 }) // what the browser can decode: JPEG, PNG, WebP, …
    output.textContent = labels.map(({ label, score }) => `${label} ${score.toFixed(3)}`).join(', ')
  } catch (error) {
    output.textContent = error.message
  }
})
