/** What evaluations and their statistics refuse. */
import { PrismalError } from '@prismal/tensor'

/** Results lack what a figure is made of, or do not belong together. Code `bad-evaluation`. */
export class EvaluationError extends PrismalError {
  override readonly name: string = 'EvaluationError'
  constructor(message: string, options?: ErrorOptions) {
    super('bad-evaluation', message, options)
  }
}
