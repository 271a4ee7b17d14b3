/** The page's worker, which holds the models and coordinates the devices: nothing is computed on the page's own thread. */
import { ConnectionError, DeviceError } from 'prismal/distribute'
import type { Answer, FromStudio, Question, Task, ToStudio } from './messages.js'
import { Picture } from './picture.js'
import { Text } from './text.js'

const scope = globalThis as unknown as Pick<Worker, 'postMessage' | 'addEventListener'>
const studio = { picture: loader(Picture.load), text: loader(Text.load) }
const running = new Map<number, AbortController>()
/** Questions are answered one after another. */
let last: Promise<void> = Promise.resolve()

scope.addEventListener('message', event => {
  const message = (event as MessageEvent<ToStudio>).data
  if ('stop' in message) return running.get(message.stop)?.abort(new Error('stopped'))
  const { id, ask } = message
  const controller = new AbortController()
  running.set(id, controller)
  const tell = (answer: Answer): void => scope.postMessage({ id, answer } satisfies FromStudio)
  last = last.then(() => answered(ask, tell, controller.signal)).finally(() => running.delete(id))
})

async function answered(ask: Question, tell: (answer: Answer) => void, signal: AbortSignal): Promise<void> {
  let subject: Picture | Text | undefined
  try {
    signal.throwIfAborted()
    const { model } = ask
    if (ask.kind === 'classify') {
      const picture = await studio.picture(model, tell)
      subject = picture
      await picture.answer(ask, tell, signal)
    } else if (ask.kind === 'continue') {
      const text = await studio.text(model, tell)
      subject = text
      await text.answer(ask, tell, signal)
    } else await studio[ask.task satisfies Task](model, tell)
    tell({ kind: 'done' })
  } catch (error) {
    // A stopped question was stopped by whoever asked it.
    if (signal.aborted) return tell({ kind: 'done' })
    tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
    // A device may have died; the next question is asked of others.
    if (error instanceof DeviceError || error instanceof ConnectionError) subject?.team.forget()
  }
}

type Load<Subject> = (model: string, progress: (loadedBytes: number, totalBytes: number) => void) => Promise<Subject>

/** Loads once; what failed is tried again when it is next asked for. */
function loader<Subject extends Picture | Text>(load: Load<Subject>) {
  let loading: Promise<Subject> | undefined
  return async (model: string, tell: (answer: Answer) => void): Promise<Subject> => {
    loading ??= load(model, (loadedBytes, totalBytes) => tell({ kind: 'progress', loadedBytes, totalBytes }))
    try {
      const subject = await loading
      tell({ kind: 'loaded', runsOn: subject.team.runsOn })
      return subject
    } catch (error) {
      loading = undefined
      throw new Error(`The model could not be loaded: ${(error as Error).message}`, { cause: error })
    }
  }
}
