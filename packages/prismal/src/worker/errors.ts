/** What a pipeline's worker fails with, and errors as messages carry them: the same classes on both sides. */
import { ConnectionError, DeviceError, HandshakeError, PlanError, SharingError } from '@prismal/distribute/errors'
import { InputError, ModelError } from '@prismal/models'
import {
  DisposedError,
  MemoryError,
  OperandError,
  PrismalError,
  RangeOfFormatError,
  ThreadError,
  UnavailableError,
} from '@prismal/tensor'
import { DataError } from '../evaluate/data/errors.js'

/** The worker of a pipeline ended or failed: its calls are lost, and later ones cannot be made. Code `worker-failed`. */
export class WorkerError extends PrismalError {
  override readonly name: string = 'WorkerError'
  constructor(message: string, options?: ErrorOptions) {
    super('worker-failed', message, options)
  }
}

/** A thrown value as a structured clone has it: clones of errors lose their class and their `code`. */
export type CarriedError =
  | {
      /** Its key among {@link CLASSES}. */
      readonly kind: string
      readonly name: string
      readonly message: string
      readonly stack: string | undefined
      /** Own properties with plain values: `code`, `missingBytes`, `syscall`, … */
      readonly properties: Readonly<Record<string, string | number | boolean>>
      readonly cause?: CarriedError
    }
  | { readonly value: unknown }

type ErrorClass = abstract new (...args: never[]) => Error

/** A class comes before those that it extends. */
const CLASSES: Readonly<Record<string, ErrorClass>> = {
  ModelError,
  InputError,
  OperandError,
  MemoryError,
  DisposedError,
  RangeOfFormatError,
  UnavailableError,
  ThreadError,
  PlanError,
  SharingError,
  HandshakeError,
  DeviceError,
  ConnectionError,
  WorkerError,
  DataError,
  PrismalError,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  DOMException,
  Error,
}

/** Deeper causes are left out, which also ends a cycle. */
const MOST_CAUSES = 4

/** What was thrown, to be posted. */
export function carryError(thrown: unknown, causes = MOST_CAUSES): CarriedError {
  if (!(thrown instanceof Error)) return { value: isPlain(thrown) ? thrown : String(thrown) }
  const [kind = 'Error'] = Object.entries(CLASSES).find(([, known]) => thrown instanceof known) ?? []
  const own = Object.entries(thrown).filter((entry): entry is [string, string | number | boolean] => isPlain(entry[1]))
  return {
    kind,
    name: thrown.name,
    message: thrown.message,
    stack: thrown.stack,
    properties: Object.fromEntries(own),
    ...(thrown.cause !== undefined && causes > 0 && { cause: carryError(thrown.cause, causes - 1) }),
  }
}

/** What was thrown on the other side: an error of the same class, message, properties and stack. */
export function thrownOf(carried: CarriedError): unknown {
  if ('value' in carried) return carried.value
  const { kind, name, message, stack, properties, cause } = carried
  if (kind === 'DOMException') return new DOMException(message, name)
  const error = new Error(message, cause && { cause: thrownOf(cause) })
  // An error made by `new Error` is one to every tool; its prototype says which.
  Object.setPrototypeOf(error, (CLASSES[kind] as ErrorClass).prototype)
  Object.assign(error, properties)
  const hidden = (value: string): PropertyDescriptor => ({ value, configurable: true, writable: true })
  if (error.name !== name) Object.defineProperty(error, 'name', hidden(name))
  if (stack !== undefined) Object.defineProperty(error, 'stack', hidden(stack))
  return error
}

const isPlain = (value: unknown): value is string | number | boolean =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
