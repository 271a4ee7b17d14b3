/** Errors go over to another thread and are what they were. */
import * as distribute from '@prismal/distribute'
import * as models from '@prismal/models'
import * as tensor from '@prismal/tensor'
import { MemoryError, PrismalError } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { carryError, thrownOf, WorkerError } from './errors.js'

const over = (thrown: unknown): unknown => thrownOf(structuredClone(carryError(thrown)))

type Kind = new (message: string, detail?: unknown) => PrismalError
const exported: readonly unknown[] = Object.values({ ...tensor, ...models, ...distribute, WorkerError })
const classes = exported.filter(
  (value): value is Kind => typeof value === 'function' && value.prototype instanceof PrismalError,
)

describe('an error that goes over', () => {
  it.each(classes.map(c => [c.name, c] as const))('is a %s still', (_, Kind) => {
    const error = new Kind('asked 3, found 4')
    const came = over(error) as PrismalError
    expect(Object.getPrototypeOf(came)).toBe(Kind.prototype)
    expect([came.message, came.code, came.name, came.stack, String(came)]).toEqual([
      error.message,
      error.code,
      error.name,
      error.stack,
      String(error),
    ])
  })
  it('is of every class that prismal has', () => expect(classes.length).toBeGreaterThanOrEqual(12))

  it('keeps its own values and its cause', () => {
    expect(over(new MemoryError('too much', 77))).toMatchObject({ missingBytes: 77, code: 'out-of-memory' })
    const cause = Object.assign(new TypeError('no such file'), { code: 'ENOENT', errno: -2, path: { to: 'it' } })
    const came = over(new models.InputError('cannot be read', { cause })) as Error & { cause: Error }
    expect(came.cause).toBeInstanceOf(TypeError)
    expect(came.cause).toMatchObject({ message: 'no such file', code: 'ENOENT', errno: -2 })
    expect(came.cause).not.toHaveProperty('path')
  })

  it('is an AbortError where it was, and whatever else was thrown', () => {
    const abort = over(new DOMException('stop', 'AbortError')) as DOMException
    expect(abort).toBeInstanceOf(DOMException)
    expect([abort.name, abort.message]).toEqual(['AbortError', 'stop'])
    fc.assert(fc.property(fc.oneof(fc.string(), fc.double(), fc.boolean()), value => Object.is(over(value), value)))
    expect(over(Symbol('x'))).toBe('Symbol(x)')
    expect(over({ why: 1 })).toBe('[object Object]')
  })

  it('ends a cycle of causes', () => {
    const error = new Error('itself')
    error.cause = error
    expect((over(error) as Error).message).toBe('itself')
  })
})
