/** Errors of plans, devices and what travels between them. */
import { PrismalError } from '@prismal/tensor'

/** A plan was asked for that cannot be made. Code `bad-plan`. */
export class PlanError extends PrismalError {
  override readonly name: string = 'PlanError'
  constructor(message: string) {
    super('bad-plan', message)
  }
}

/** A device failed, ended or answered with an error. Code `device-failed`. */
export class DeviceError extends PrismalError {
  override readonly name: string = 'DeviceError'
  constructor(message: string, options?: ErrorOptions) {
    super('device-failed', message, options)
  }
}

/** A connection was closed, or something else than a frame arrived on it. Code `connection`. */
export class ConnectionError extends PrismalError {
  override readonly name: string = 'ConnectionError'
  constructor(message: string, options?: ErrorOptions) {
    super('connection', message, options)
  }
}

/** Two sides could not agree: on a version, the secret, the model. Code `handshake`. */
export class HandshakeError extends PrismalError {
  override readonly name: string = 'HandshakeError'
  constructor(message: string, options?: ErrorOptions) {
    super('handshake', message, options)
  }
}

/** Sharing was measured and would take longer than one device does. Code `sharing-does-not-pay`. */
export class SharingError extends PrismalError {
  override readonly name: string = 'SharingError'
  constructor(message: string, options?: ErrorOptions) {
    super('sharing-does-not-pay', message, options)
  }
}
