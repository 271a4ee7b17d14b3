import { type Pipelines, pipeline } from 'prismal'
import { useEffect, useState } from 'react'

type Model = Parameters<typeof pipeline>[1]

export interface Classifier {
  /** Absent while the model is loading. */
  readonly classify?: Pipelines['image-classification']
  /** Why it could not be loaded. */
  readonly error?: Error
}

/** A classifier for as long as the component is mounted. `model` is what `pipeline` takes, and the same in each render. */
export function useClassifier(model: Model): Classifier {
  const [classifier, setClassifier] = useState<Classifier>({})
  useEffect(() => {
    const unmounted = new AbortController()
    const { signal } = unmounted
    const loading = pipeline('image-classification', model, { worker: true, signal })
    loading.then(
      classify => signal.aborted || setClassifier({ classify }),
      error => signal.aborted || setClassifier({ error }),
    )
    return () => {
      setClassifier({})
      unmounted.abort() // ends what is still loading
      loading.then(
        classify => classify.dispose(),
        () => {},
      )
    }
  }, [model])
  return classifier
}
