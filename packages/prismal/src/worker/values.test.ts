/** Inputs and outputs go over to another thread and are what they were. */
import { numberArray } from '@prismal/models'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RUNS } from '../../../../test/runs.js'
import { type Parcel, packInput, packOutput, unpackInput, unpackOutput } from './values.js'

const over = ({ value, transfer }: Parcel): unknown => structuredClone(value, { transfer: [...transfer] })
const sent = async (input: unknown): Promise<unknown> => unpackInput(over(await packInput(input)))

/** As canvas libraries have it: what it holds is told by its class. */
class Pixels {
  readonly #data: Uint8ClampedArray
  constructor(data: Uint8ClampedArray) {
    this.#data = data
  }
  get width(): number {
    return this.#data.length / 4
  }
  get height(): number {
    return 1
  }
  get data(): Uint8ClampedArray {
    return this.#data
  }
}

describe('an input that goes over', () => {
  it('is the part of a buffer that it shows, and the caller keeps it', async () => {
    const views = fc.uint8Array({ maxLength: 64 }).chain(all =>
      fc.tuple(fc.nat(all.length), fc.nat(all.length), fc.boolean()).map(([a, b, isClamped]) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)]
        return (isClamped ? new Uint8ClampedArray(all.buffer) : all).subarray(from, to)
      }),
    )
    await fc.assert(
      fc.asyncProperty(views, async view => {
        const before = [...view]
        const parcel = await packInput(view)
        expect(parcel.transfer.map(b => b.byteLength)).toEqual([view.length])
        expect([...(unpackInput(over(parcel)) as Uint8Array)]).toEqual(before)
        expect([...view]).toEqual(before)
      }),
      { numRuns: RUNS },
    )
  })

  it('is a picture, whatever class holds it', async () => {
    const data = Uint8ClampedArray.of(1, 2, 3, 4, 5, 6, 7, 8)
    const want = { width: 2, height: 1, data: new Uint8Array(data) }
    expect(await sent(new Pixels(data))).toEqual(want)
    expect(await sent({ width: 2, height: 1, data })).toEqual(want)
    expect(data.length).toBe(8)
  })

  it('is a URL, a Blob, a text or a list of all of them', async () => {
    const url = new URL('file:///a%20b.png')
    const [a, b, c, d] = (await sent([url, new Blob(['xy']), 'x', { text: 'x', text_pair: 'y' }])) as unknown[]
    expect(a).toEqual(url)
    expect(b).toBeInstanceOf(Blob)
    expect(await (b as Blob).text()).toBe('xy')
    expect([c, d]).toEqual(['x', { text: 'x', text_pair: 'y' }])
  })

  it('is what is no input too: the pipeline says what is wrong with it', async () => {
    for (const value of [undefined, null, 3, { width: 1 }, { data: 'x' }]) expect(await sent(value)).toEqual(value)
  })
})

describe('an output that comes back', () => {
  it('is an array of numbers with its method', () => {
    const array = numberArray([2, 2], Float32Array.of(1, 2, 3, 4))
    for (const output of [array, [array, array]]) {
      const came = unpackOutput(over(packOutput(output)))
      for (const one of [came].flat() as (typeof array)[]) {
        expect([one.dims, one.data]).toEqual([array.dims, array.data])
        expect(one.tolist()).toEqual([
          [1, 2],
          [3, 4],
        ])
      }
      expect(Array.isArray(came)).toBe(Array.isArray(output))
    }
    expect(array.data.length).toBe(4)
  })
  it('is labels or texts as they are', () => {
    const output = [[{ label: 'cat', score: 0.5 }], [{ generated_text: 'x' }]]
    expect(unpackOutput(over(packOutput(output)))).toEqual(output)
  })
})
