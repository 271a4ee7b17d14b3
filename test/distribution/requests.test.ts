/** Requests beside each other: what devices would not take, too many at once, and those that do without a device. */
import { aloneRunner, type Emitted, type GenerateOptions } from '@prismal/models'
import { describe, expect, test } from 'vitest'
import { bits } from '../compare.js'
import { generators, inMemory, rowsOf, sequenceFor, tokensOf, toldDeliveries } from './subjects.js'

describe.each(generators.slice(0, 1))('requests that devices do not take ($name)', subject => {
  const taken = { maxNewTokens: 3 }
  const refused: [string, GenerateOptions, RegExp][] = [
    ['a penalty that is no number', { ...taken, sampling: { repetitionPenalty: Infinity } }, /repetitionPenalty/],
    ['more than a frame holds', { ...taken, forced: [Array(2 ** 20).fill(1_000_000)] }, /bytes of JSON are more/],
    ['more forced tokens than a frame names', { ...taken, forced: [Array(2 ** 20 + 1).fill(7)] }, /list of at most/],
  ]

  test.each(refused)('%s: an error of that request, and others go on', async (_, options, error) => {
    const { runner } = await inMemory(subject, 2)
    const prompt = sequenceFor(runner.model, 12, 4)
    const want = (await tokensOf(runner, [prompt], taken)).map(t => t.id)
    await expect(tokensOf(runner, [prompt], options)).rejects.toThrow(error)
    expect((await tokensOf(runner, [prompt], taken)).map(t => t.id)).toEqual(want)
    await runner.dispose()
  })

  test('more sequences than a frame names', async () => {
    const { runner } = await inMemory(subject, 8)
    const one = sequenceFor(runner.model, 1, 4)
    const many = Array.from({ length: 2 ** 15 + 1 }, () => one)
    await expect(rowsOf(runner, many, 'last')).rejects.toThrow(/devices cannot be asked for this: .* list of at most/)
    expect(await rowsOf(runner, [one], 'last')).toHaveLength(runner.model.shape.width)
    await runner.dispose()
  })

  test.each([
    ['more tokens than there are positions', { maxNewTokens: 1e20 }],
    ['an end that is no id', { maxNewTokens: 4, endIds: [-1, 2.5] }],
  ])('%s: as one device takes it', async (_, options) => {
    const { runner, models } = await inMemory(subject, 2)
    const prompt = sequenceFor(runner.model, runner.model.shape.positions - 3, 4)
    const told = (tokens: readonly Emitted[]) => tokens.map(({ id, end }) => ({ id, end }))
    const want = told(await tokensOf(aloneRunner(models[0]!), [prompt], options))
    expect(told(await tokensOf(runner.with({ strategy: 'full' }), [prompt], options))).toEqual(want)
    await runner.dispose()
  })
})

test.each([1, 2, 4])('a device that has ended is missed by those requests that use it (at message %i)', async at => {
  const deliveries = toldDeliveries()
  const { runner } = await inMemory(generators[0]!, 3, deliveries)
  const one = sequenceFor(runner.model, 9, 4)
  const two = runner.with({}, 2)
  const want = bits(await rowsOf(two, [one], 'last'))
  let delivered = 0
  deliveries.onDelivery = () => {
    if (++delivered === at) void runner.members[2]!.end()
  }
  const meanwhile = rowsOf(two, [one], 'last')
  await runner.members[2]!.control.closed
  await expect(rowsOf(runner, [one], 'last')).rejects.toThrow(/^device 2 \(memory\) ended: /)
  for (const request of [meanwhile, rowsOf(two, [one], 'last')]) expect(bits(await request)).toEqual(want)
  await runner.dispose()
})

test('more requests than devices run at once wait for their turn, or for their signal', async () => {
  const { runner } = await inMemory(generators[0]!, 2)
  const one = sequenceFor(runner.model, 2, 4)
  const want = bits(await rowsOf(runner, [one], 'last'))
  const controller = new AbortController()
  const last = runner.begin(controller.signal)
  const all = Array.from({ length: 300 }, () => rowsOf(runner, [one], 'last'))
  const aborted = expect(last.rows([one], 'last')).rejects.toThrow('no longer wanted')
  controller.abort(new Error('no longer wanted'))
  await aborted
  last.end()
  for (const rows of await Promise.all(all)) expect(bits(rows)).toEqual(want)
  await runner.dispose()
})
