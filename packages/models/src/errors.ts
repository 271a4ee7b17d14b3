/** Errors about models and what is put into them. */
import { PrismalError } from '@prismal/tensor'

/** What messages call a value by: `null`, `number`, `Array`, `Float32Array`, …, whichever frame or thread it is of. */
export function kindOf(value: unknown): string {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function'))
    return value === null ? 'null' : typeof value
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

/** A model's files are missing, damaged, contradictory or of a kind that is not supported. Code `bad-model`. */
export class ModelError extends PrismalError {
  override readonly name: string = 'ModelError'
  constructor(message: string, options?: ErrorOptions) {
    super('bad-model', message, options)
  }
}

/** An input does not fit the model: a token id, a length, an image. Code `bad-input`. */
export class InputError extends PrismalError {
  override readonly name: string = 'InputError'
  constructor(message: string, options?: ErrorOptions) {
    super('bad-input', message, options)
  }
}
