/** The errors that prismal raises on purpose: classes with a stable `code`. */

/**
 * Base of all of them. `code` is stable and meant for programs, `message` for people. Each class says its name, since
 * whoever bundles may shorten that of the class.
 */
export class PrismalError extends Error {
  readonly code: string
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** An operation was given shapes, dtypes or values that do not fit its rule. Code `invalid-operand`. */
export class OperandError extends PrismalError {
  override readonly name: string = 'OperandError'
  constructor(message: string, options?: ErrorOptions) {
    super('invalid-operand', message, options)
  }
}

/** The engine's memory or its budget does not suffice. Code `out-of-memory`. */
export class MemoryError extends PrismalError {
  override readonly name: string = 'MemoryError'
  /** Bytes that were missing; 0 where the runtime does not tell. */
  readonly missingBytes: number
  constructor(message: string, missingBytes: number) {
    super('out-of-memory', message)
    this.missingBytes = missingBytes
  }
}

/** Something was used after `dispose()`. Code `disposed`. */
export class DisposedError extends PrismalError {
  override readonly name: string = 'DisposedError'
  constructor(message: string) {
    super('disposed', message)
  }
}

/** A value does not fit the number format it is to be written in. Code `out-of-range`. */
export class RangeOfFormatError extends PrismalError {
  override readonly name: string = 'RangeOfFormatError'
  constructor(message: string) {
    super('out-of-range', message)
  }
}

/** The runtime lacks something that was asked for. Code `unavailable`. */
export class UnavailableError extends PrismalError {
  override readonly name: string = 'UnavailableError'
  constructor(message: string, options?: ErrorOptions) {
    super('unavailable', message, options)
  }
}

/** A thread of an engine failed at its part of a call, whose result is lost. Code `thread-failed`. */
export class ThreadError extends PrismalError {
  override readonly name: string = 'ThreadError'
  constructor(message: string, options?: ErrorOptions) {
    super('thread-failed', message, options)
  }
}
