import vitCifar10 from '@prismal/vit-cifar10'
import { pipeline } from 'prismal'

const input = document.querySelector('input')
const output = document.querySelector('output')

// In a worker, so that the page stays responsive. `loaded` and `total` are bytes of the weights.
const classify = await pipeline('image-classification', vitCifar10, {
  worker: true,
  progress_callback: ({ progress }) => (output.textContent = `loading… ${progress.toFixed(0)} %`),
})
output.textContent = 'ready'
input.disabled = false

input.addEventListener('change', async () => {
  try {
    const labels = await classify(input.files[0], { topk: 3 })
    output.textContent = labels.map(({ label, score }) => `${label} ${score.toFixed(3)}`).join(', ')
  } catch (error) {
    output.textContent = error.message
  }
})
