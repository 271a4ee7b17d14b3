/** What a device does with frames that are not as they must be: an answer in words, or the end of the connection they came on. */
import { type ConnectionError, Device, decodeFrame, encodeFrame, type Frame, frame } from '@prismal/distribute'
import { memoryPair } from '@prismal/distribute/transports/memory'
import type { Model } from '@prismal/models'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadFolder, temporaryFolders, tinyModel, writeModel } from '../models/tiny-model.js'

const folder = temporaryFolders()
let model: Model
beforeAll(async () => {
  model = await loadFolder(writeModel(folder(), tinyModel('bert')))
})
afterAll(() => model.dispose())

/** A device with a coordinator, and a link to device 1. */
function served() {
  const device = new Device(model)
  const [control, theirs] = memoryPair()
  void device.serve(theirs)
  const [link, linked] = memoryPair()
  device.link(1, linked)
  const counts = { control: 0, link: 0 }
  let answered = 0
  const answer = new Promise<Frame>(resolve => control.receive(m => resolve(decodeFrame(m, answered++))))
  return {
    control,
    link,
    answer,
    ask: (f: Frame) => control.send(encodeFrame(f, counts.control++)),
    exchange: (f: Frame) => link.send(encodeFrame(f, counts.link++)),
  }
}
const run = (json: object, ids = 3): Frame =>
  frame('run', 1, {
    json: {
      ...{ devices: 1, self: 0, rows: [3], want: 'all', decodes: false, output: 'rows', options: {} },
      parts: [[ids, -1, -1, -1]],
      ...json,
    },
    data: new Uint8Array(ids * 4),
  })

test('a sound request is answered', async () => {
  const { ask, answer, control } = served()
  await ask(run({}))
  expect(await answer).toMatchObject({ kind: 'output', json: { rows: 3 } })
  control.close()
})

test.each([
  ['an id too many', run({}, 4), /3 rows take 3 ids; 4 came/],
  ['more rows than the model has', run({ rows: [41] }, 41), /a sequence of 41 rows was dealt; the model has 40/],
  ['a plan that cannot be', run({ options: { strategy: 'magic' } }), /strategy is "magic"/],
  ['bytes that nobody announced', run({ parts: [[2, -1, -1, -1]] }), /inputs of 8 bytes were announced, 12 came/],
])('a request with %s is answered with an error, and others go on', async (_, wrong, reason) => {
  const { ask, answer, control } = served()
  await ask(wrong)
  expect(await answer).toMatchObject({ kind: 'error', json: { message: expect.stringMatching(reason) } })
  control.close()
})

test.each([
  ['that is none', run({ rows: 'three' }), /a run's rows is "three", not a list/],
  ['of another kind', frame('done', 1), /a coordinator sent done, which is not for devices/],
])('a request %s ends the connection', async (_, wrong, reason) => {
  const { ask, control } = served()
  await ask(wrong)
  expect(await control.closed).toMatch(reason)
})

test('a request that runs twice ends the connection', async () => {
  const { ask, control } = served()
  await ask(run({}))
  await ask(run({}))
  expect(await control.closed).toBe('request 1 was to run twice')
})

const rows = (more: Partial<Frame>, bytes = 96): Frame =>
  frame('rows', 1, { from: 1, data: new Uint8Array(bytes), ...more })
test.each([
  ['of another device', [rows({ from: 2 })], /device 1 sent rows as device 2/],
  ['of a layer that there is not', [rows({ layer: 3 })], /of layer 3; the model has 3/],
  ['that came before', [rows({}), rows({})], /rows of layer 0 came twice from device 1/],
  ['of requests that never start', [0, 1, 2].map(i => rows({ request: i }, 2 ** 25 - 1000)), /have not started/],
])('rows %s end the link', async (_, frames, reason) => {
  const { exchange, link, control } = served()
  for (const f of frames) await exchange(f).catch((error: ConnectionError) => expect(error.code).toBe('connection'))
  expect(await link.closed).toMatch(reason)
  control.close()
})

test('a request that waits for rows of a link that is closed for what it sent fails, and says why', async () => {
  const { ask, exchange, answer, control } = served()
  await ask(run({ devices: 2, rows: [6], options: {} }))
  await exchange(rows({ from: 2 }))
  expect(await answer).toMatchObject({
    kind: 'error',
    json: {
      code: 'connection',
      message: expect.stringMatching(/connection to device 1 closed: device 1 sent rows as device 2/),
    },
  })
  control.close()
})
