import { PlanError } from '@prismal/distribute'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type GridCell, gridCell, gridCells, oneDevice, parseGrid } from './grid.js'
import { clozeItems } from './tasks/cloze-items.js'

const names = (cells: readonly GridCell[]): string[] => cells.map(c => `${c.devices}/${c.cuts} ${c.method}`)

describe('a grid', () => {
  it('is every combination, after what it is compared with', () => {
    const cells = gridCells({ devices: [1, 2, 4], axes: { segments: [3, 7], wire: ['f32', 'int8'] } })
    expect(names(cells)).toEqual([
      ...['1/2 one device', '2/2 isolated', '1/4 one device', '4/4 isolated'],
      ...['2/2 means L=3 f32', '2/2 means L=3 int8', '2/2 means L=7 f32', '2/2 means L=7 int8'],
      ...['4/4 means L=3 f32', '4/4 means L=3 int8', '4/4 means L=7 f32', '4/4 means L=7 int8'],
    ])
    expect(names(gridCells({ devices: [1] }))).toEqual(['1/1 one device'])
  })

  it('has no cell twice: what a strategy does not go by is no difference', () => {
    const axes = { strategy: ['means', 'isolated', 'full'], segments: [3, 7], sink: [0, 1] }
    expect(names(gridCells({ devices: [2], axes }))).toEqual([
      ...['1/2 one device', '2/2 isolated'],
      ...[3, 7].flatMap(L => [0, 1].map(k => `2/2 means L=${L} sink=${k}`)).slice(0, 4),
      '2/2 full',
    ])
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.constantFrom('means', 'isolated', 'full'), { minLength: 1 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        (strategy, segments, devices, baselines) => {
          const cells = gridCells({ devices, axes: { strategy, segments }, baselines })
          const keys = cells.map(({ devices, cuts, sharing }) => JSON.stringify([devices, cuts, sharing]))
          expect(new Set(keys).size).toBe(keys.length)
          for (const P of devices.filter(P => P > 1)) {
            expect(cells.some(c => c.devices === 1 && c.cuts === P)).toBe(true)
            expect(cells.filter(c => c.devices === P && c.method === 'isolated')).toHaveLength(1)
          }
        },
      ),
    )
  })

  it('has one device and isolated for each cut', () => {
    const cells = gridCells({
      devices: [2],
      axes: {
        weights: [
          [1, 2],
          [2, 1],
        ],
        segments: [3, 4],
      },
    })
    expect(cells.slice(0, 4)).toEqual([
      oneDevice(2, { weights: [1, 2] }),
      gridCell(2, { strategy: 'isolated', weights: [1, 2] }),
      oneDevice(2, { weights: [2, 1] }),
      gridCell(2, { strategy: 'isolated', weights: [2, 1] }),
    ])
    expect(cells).toHaveLength(8)
    const listed = parseGrid([{ devices: 2 }, { devices: 2, sharing: { padTo: 256 } }], 'grid.json')
    expect(listed.slice(0, 4)).toEqual([
      oneDevice(2),
      gridCell(2, { strategy: 'isolated' }),
      oneDevice(2, { padTo: 256 }),
      gridCell(2, { strategy: 'isolated', padTo: 256 }),
    ])
  })

  it('has the readings of the published method: uniform means without sink rows', () => {
    const cells = gridCells({ devices: [2], axes: { segments: [3] }, baselines: true })
    const published = cells.filter(c => c.method.startsWith('published'))
    for (const { sharing } of published) expect(sharing).toMatchObject({ strategy: 'means', segments: 3, sink: 0 })
    for (const reading of ['input', 'normed', 'input, f16', 'normed, f16'])
      expect(published.map(c => c.method)).toContain(`published L=3 (${reading})`)
    expect(cells.map(c => c.method)).toContain('full')
  })

  it('refuses options that there are not, or of another type', () => {
    const refused = (options: object) => expect(() => gridCell(2, options))
    refused({ ordr: 'hilbert' }).toThrow(new PlanError('plan: there is no option ordr of sharing'))
    refused({ segments: 'three' }).toThrow(/segments is "three"/)
    for (const P of [0, -1, 1.5])
      expect(() => gridCells({ devices: [2, P] })).toThrow(
        new PlanError(`plan: devices is ${P}, not a whole number ≥ 1`),
      )
  })

  it('may be a list', () => {
    const cells = parseGrid([{ devices: 3, sharing: { segments: 2 }, method: 'ours' }, { devices: 1 }], 'grid.json')
    expect(names(cells)).toEqual(['1/3 one device', '3/3 isolated', '3/3 ours'])
    expect(() => parseGrid({}, 'grid.json')).toThrow('grid.json is not a list')
    expect(() => parseGrid([{ devices: 0 }], 'grid.json')).toThrow('grid.json[0].devices is 0')
    expect(() => parseGrid([{ devices: 2, method: 5 }], 'grid.json')).toThrow('grid.json[0].method is 5, not a text')
    for (const sharing of [5, null, ['means']])
      expect(() => parseGrid([{ devices: 2, sharing }], 'grid.json')).toThrow('grid.json[0].sharing is')
  })
})

describe('cloze items', () => {
  const people = 'Anna Berta Carla Dora Emma Frida Greta Hanna Irma Julia Klara Lena'.split(' ')
  const text = Array.from({ length: 63 }, (_, i) => {
    const [a, b] = [people[i % 12], people[(5 * i + 3) % 12]]
    return `In the village old ${a} talked with ${b} for hours.`
  }).join(' ')

  it('ask for one word of ten that the context has, the same for the same seed', () => {
    fc.assert(
      fc.property(fc.nat(1000), seed => {
        const items = clozeItems([text, 'Too short.', text], seed)
        expect(items.map(i => i.document)).toEqual([0, 0, 0, 2, 2, 2])
        for (const { context, sentences, truth } of items) {
          expect(sentences).toHaveLength(10)
          expect(new Set(sentences).size).toBe(10)
          expect(text).toContain(`${context} ${sentences[truth]}`)
          expect(sentences.filter(s => text.includes(`${context} ${s}`))).toHaveLength(1)
          for (const sentence of sentences)
            for (const name of sentence.match(/[A-Z][a-z]{3,}/g) ?? []) expect(context).toContain(name)
        }
        expect(clozeItems([text, 'Too short.', text], seed)).toEqual(items)
      }),
      { numRuns: 20 },
    )
  })
})
