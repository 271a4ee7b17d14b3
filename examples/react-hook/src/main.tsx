import vitCifar10 from '@prismal/vit-cifar10'
import { type ChangeEvent, StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { useClassifier } from './use-classifier'

function Picture() {
  const { classify, error } = useClassifier(vitCifar10)
  const [answer, setAnswer] = useState('')

  const choose = async ({ target }: ChangeEvent<HTMLInputElement>) => {
    const [file] = target.files ?? []
    if (!classify || !file) return
    try {
      const labels = await classify(file, { topk: 3 })
      setAnswer(labels.map(({ label, score }) => `${label} ${score.toFixed(3)}`).join(', '))
    } catch (reason) {
      setAnswer(String(reason))
    }
  }
  return (
    <>
      <p>
        <label>
          A picture: <input type="file" accept="image/*" disabled={!classify} onChange={choose} />
        </label>
      </p>
      <p>
        <output>{error?.message ?? (answer || (classify ? 'ready' : 'loading…'))}</output>
      </p>
    </>
  )
}

/** What unmounts the classifier also ends its worker. */
function App() {
  const [isShown, show] = useState(true)
  return (
    <>
      {isShown && <Picture />}
      <button type="button" onClick={() => show(!isShown)}>
        {isShown ? 'Close' : 'Open'}
      </button>
    </>
  )
}

createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
