import { describe, expect, it } from 'vitest'
import { distanceTable } from './by-distance.js'
import type { Cell } from './cell.js'
import { summaries } from './summary.js'

const cell = (devices: number, sharing: Cell['sharing'], accuracy: number, more: Partial<Cell> = {}): Cell => ({
  ...{ task: 'image-classification', devices, sharing, method: sharing.strategy ?? 'one device', columns: {} },
  data: { name: 'd', digest: 'd', items: 10 },
  model: { name: 'm', digest: 'm', dtype: 'f32' },
  settings: {},
  cost: { bytesReceived: 0, bytesSent: 0, flops: 0, flopsAlone: 0 },
  metrics: { accuracy },
  ...{ numericsClass: 'c', seconds: 1 },
  ...more,
})

describe('a summary', () => {
  it('compares with one device and with isolation of the same number of devices', () => {
    const found = summaries(
      [
        cell(1, {}, 80),
        cell(2, { strategy: 'isolated' }, 60),
        cell(2, { strategy: 'means' }, 75),
        cell(4, { strategy: 'isolated' }, 40),
        cell(4, { strategy: 'means' }, 50),
        cell(3, { strategy: 'means' }, 50),
      ],
      'accuracy',
    )
    expect(found.map(s => s.change)).toEqual([undefined, -20, -5, -40, -30, -30])
    expect(found.map(s => s.recovered)).toEqual([undefined, 0, 0.75, 0, 0.25, undefined])
  })

  it('compares only what is of the same rows, model and data', () => {
    const others: Partial<Cell>[] = [
      { settings: { cuts: 4 } },
      { task: 'cloze' },
      { data: { name: 'd', digest: 'e', items: 10 } },
      { model: { name: 'm', digest: 'm', dtype: 'q8' } },
    ]
    for (const other of others) {
      const [, shared] = summaries([cell(1, {}, 80, other), cell(2, { strategy: 'means' }, 75)], 'accuracy')
      expect(shared?.change).toBeUndefined()
    }
  })

  it('tells the share of rows beyond the first device, and what is lost at each distance', () => {
    const rows = { rows: [10, 30], beyond: [0, 10] }
    expect(summaries([cell(2, {}, 1, { columns: rows })], 'accuracy')[0]?.beyond).toBe(0.25)
    const of = (nats: number[]): Partial<Cell> => ({
      columns: { distance: [0, 16, 0, 16], nats, tokens: [16, 4, 16, 4], document: [0, 0, 1, 1] },
    })
    const table = distanceTable([
      cell(1, {}, 1, of([16, 4, 16, 4])),
      cell(2, { strategy: 'isolated' }, 1, of([32, 4, 16, 6])),
    ])
    expect(table).toMatch(/devices +0–15 +16\+\nisolated +2 +\+0\.5000 +\+0\.2500$/)
    expect(distanceTable([cell(1, {}, 1), cell(2, {}, 1)])).toBe('')
  })
})
