/** What an evaluation fails with. */
import { PrismalError } from '@prismal/tensor'

/** A data set is missing, damaged, of a kind that is not read, or does not fit the task. Code `bad-data`. */
export class DataError extends PrismalError {
  override readonly name: string = 'DataError'
  constructor(message: string, options?: ErrorOptions) {
    super('bad-data', message, options)
  }
}
