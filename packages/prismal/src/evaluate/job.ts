/** A thread of an evaluation: loads what is evaluated, then answers runs of items as it is told. */
import type { MessagePort } from 'node:worker_threads'
import { type CarriedError, carryError } from '../worker/errors.js'
import type { Way } from './asking.js'
import { type Answers, Subject, type SubjectFacts, type SubjectOptions } from './subject.js'

/** What a job is to do: items of one cell. */
export interface JobOrder {
  readonly way: Way
  readonly items: readonly number[]
}
/** What a job says: first that it is ready, then an answer to each order. */
export type JobMessage =
  | { readonly ready: SubjectFacts }
  | { readonly answers: Answers }
  | { readonly failed: CarriedError }

/** Serves the thread that started this one, until it ends it. */
export async function serveJob(port: MessagePort, options: SubjectOptions): Promise<void> {
  const say = (message: JobMessage): void => port.postMessage(message)
  try {
    const subject = await Subject.load(options)
    port.on('message', ({ way, items }: JobOrder) => {
      subject.answers(way, items).then(
        answers => say({ answers }),
        error => say({ failed: carryError(error) }),
      )
    })
    say({ ready: subject.facts })
  } catch (error) {
    say({ failed: carryError(error) })
  }
}
