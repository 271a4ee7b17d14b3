/** What an exchange of means takes beyond moving its bytes, over every transport: the time that a layer waits at least. */
import { Unavailable } from '../contender.js'

import { LineProcess } from '../line-process.js'
import { summary } from '../measure.js'
import { atMost, type NotMeasured, type Row } from '../report.js'
import { scriptPath } from '../scripts.js'
import type { Place, SideMessage } from './exchange-messages.js'
import { natsServer } from './nats-server.js'
import { SUITE, type TopicFindings, type TopicOptions } from './topic.js'
import { secretFile } from './worker-process.js'

/** L = 10 means and a sink row of 768 f32 values, with a frame's header. */
const MESSAGE_BYTES = 11 * 768 * 4 + 24
/** Large enough that moving it is all that counts. */
const LARGE_BYTES = 16 * 2 ** 20
/** An exchange is too short for one look at the clock, and sides take turns at being first: so many count as one. */
const TIMES = 40

interface Route {
  readonly name: string
  /** Sides as processes of their own, or both as threads of one. */
  readonly connect: () => Promise<Sides>
  readonly mostMs?: number
}

/** Two ends that exchange; one process where both are threads of it. */
interface Sides {
  readonly ends: readonly LineProcess[]
  end(): Promise<void>
}

const NAME = `exchange of ${(MESSAGE_BYTES / 1000).toFixed(0)} kB`
const LARGE_NAME = `one message of ${LARGE_BYTES / 2 ** 20} MiB`

export async function exchanges(options: TopicOptions): Promise<TopicFindings> {
  const rows: Row[] = []
  const notMeasured: NotMeasured[] = []
  for (const route of ROUTES) {
    options.tell(`exchange, ${route.name}`)
    try {
      const sides = await route.connect()
      try {
        rows.push(...(await measure(route, sides, options)))
      } finally {
        await sides.end()
      }
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error
      notMeasured.push({ suite: SUITE, name: NAME, variant: route.name, reason: error.message })
    }
  }
  return { rows, notMeasured, remarks: [] }
}

async function measure({ name, mostMs }: Route, { ends }: Sides, { quick }: TopicOptions): Promise<Row[]> {
  const ask = async (messages: readonly SideMessage[]): Promise<number> => {
    const replies = await Promise.all(ends.map((end, i) => end.ask<{ milliseconds: number }>(messages[i]!)))
    return replies[0]!.milliseconds
  }
  const exchange = async (bytes: number): Promise<number> => {
    const message = { exchange: { bytes, times: TIMES } }
    return (await ask([message, message])) / TIMES
  }
  const stream = (bytes: number): Promise<number> =>
    ask((['send', 'take'] as const).map(part => ({ stream: { bytes, times: 1, part } })))

  const [warm, counted, large] = quick ? [5, 20, 3] : [10, 100, 7]
  for (let i = 0; i < warm; i++) await exchange(MESSAGE_BYTES)
  const times: number[] = []
  for (let i = 0; i < counted; i++) times.push(await exchange(MESSAGE_BYTES))
  const there: number[] = []
  const empty: number[] = []
  for (let i = 0; i <= large; i++) {
    const [long, short] = [await stream(LARGE_BYTES), await stream(0)]
    if (i === 0) continue
    there.push(long)
    empty.push(short)
  }
  // Each side's message goes its own way at the same time as the other's.
  const bytesPerMs = LARGE_BYTES / (summary(there).median - summary(empty).median)
  const added = summary(times.map(ms => Math.max(0, ms - MESSAGE_BYTES / bytesPerMs)))
  return [
    {
      ...{ suite: SUITE, name: LARGE_NAME, variant: name, milliseconds: summary(there) },
      rate: { value: bytesPerMs / 1000, unit: 'MB/s' },
    },
    {
      ...{ suite: SUITE, name: NAME, variant: `${name}: added to the transfer`, milliseconds: added },
      ...(mostMs !== undefined && { bar: atMost(added.median, mostMs, `≤ ${mostMs} ms`) }),
    },
  ]
}

const side = (): LineProcess => new LineProcess('exchange', process.execPath, [scriptPath('network-exchange-side')])

async function processes(place: Place, what: () => void | Promise<void> = () => {}): Promise<Sides> {
  const ends = [side(), side()] as const
  const end = async (): Promise<void> => {
    for (const one of ends) await one.end()
    await what()
  }
  try {
    const { address } = await ends[0].ask<{ address: string }>({ listen: place })
    await ends[1].ask({ dial: { ...place, address } })
    return { ends, end }
  } catch (error) {
    await end()
    throw error
  }
}

async function threads(): Promise<Sides> {
  const both = side()
  await both.ask({ ports: true })
  return { ends: [both], end: () => both.end() }
}

const at = (file: string): string => `@prismal/distribute/transports/${file}`
const WEB_SOCKET: Place = { module: at('web-socket'), address: 'ws://127.0.0.1:0' }

async function overNats(): Promise<Sides> {
  const server = await natsServer()
  return await processes({ module: at('nats'), address: `${server.url}/prismal.bench.${process.pid}` }, () =>
    server.end(),
  )
}

async function encrypted(): Promise<Sides> {
  const secret = secretFile()
  return await processes({ ...WEB_SOCKET, secretFile: secret.path }, () => secret.remove())
}

const ROUTES: readonly Route[] = [
  { name: 'message-port', connect: threads, mostMs: 0.15 },
  { name: 'web-socket', connect: () => processes(WEB_SOCKET), mostMs: 0.5 },
  { name: 'web-socket, encrypted', connect: encrypted },
  { name: 'nats', connect: overNats, mostMs: 1 },
  { name: 'web-rtc', connect: () => processes({ module: at('web-rtc'), address: 'rtc+ws://127.0.0.1:0' }), mostMs: 1 },
]
