/** What crosses the network interface, against what `cost(plan)` says of the device behind it. */
import type { SharingOptions } from '@prismal/distribute'
import { Unavailable } from '../contender.js'
import { summary } from '../measure.js'
import { atMost, type Row } from '../report.js'
import type { Choice } from './coordinator-messages.js'
import { type Carried, type Host, twoHosts } from './namespaces.js'
import { type Pair, withPairs } from './pair.js'
import {
  FULL,
  GPT2,
  meansName,
  NOTHING,
  SUITE,
  type TopicFindings,
  type TopicOptions,
  together,
  VIT,
  type Workload,
} from './topic.js'
import { secretFile } from './worker-process.js'

/** Share of the planned bytes by which those at the interface may differ. */
const MOST_DEVIATION = 0.01
/** How long nothing is asked, while heartbeats go on. */
const IDLE_MS = 6000

interface ByteCase {
  readonly workload: Workload
  readonly runners: Readonly<Record<string, SharingOptions>>
}

const CASES: readonly ByteCase[] = [
  { workload: VIT, runners: { [meansName(VIT)]: VIT.means, full: FULL } },
  { workload: GPT2, runners: { [meansName(GPT2)]: GPT2.means, full: FULL } },
]

/** Each case with the worker as the first device of the plan and as the second. */
export async function bytesOnTheWire(options: TopicOptions): Promise<TopicFindings> {
  try {
    const network = twoHosts()
    const secret = secretFile()
    try {
      const parts: TopicFindings[] = []
      for (const [i, one] of CASES.entries())
        for (const workerIs of [0, 1] as const) {
          const { folder, subject } = one.workload
          const start = { folder: folder(), dtype: 'f32', subject, runners: one.runners, workerIs } as const
          const pairs = [{ ...start, hosts: network.hosts, secretFile: secret.path }]
          const [, host] = network.hosts
          const isFirst = i === 0 && workerIs === 0
          parts.push(
            await withPairs(pairs, async pair => ({
              ...NOTHING,
              rows: [
                ...(await caseRows(one, pair, host, workerIs, options)),
                ...(isFirst ? [await idleRow(host, one.workload)] : []),
              ],
            })),
          )
        }
      return together(parts)
    } finally {
      secret.remove()
      network.remove()
    }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    const { message: reason } = error
    return { ...NOTHING, notMeasured: [{ suite: SUITE, name: 'bytes', variant: 'at the interface', reason }] }
  }
}

async function caseRows(
  { workload, runners }: ByteCase,
  pair: Pair,
  host: Host,
  device: 0 | 1,
  { quick }: TopicOptions,
): Promise<Row[]> {
  const rows: Row[] = []
  for (const runner of Object.keys(runners)) {
    const choice: Choice = { runner, batch: 1 }
    await pair.turn(choice, 1) // names are resolved, windows of TCP have opened
    const { bytesSent, bytesReceived, inputBytes, outputBytes } = (await pair.planned(choice))[device]!
    const due = bytesSent + bytesReceived + inputBytes + outputBytes
    const requests = quick || workload === GPT2 ? 3 : 5
    const before = host.carried()
    const { milliseconds } = await pair.turn(choice, requests)
    const bytes = bytesBetween(before, host.carried()) / requests
    const by = bytes / due - 1
    rows.push({
      ...{ suite: SUITE, name: workload.name, variant: `device ${device + 1} of 2, ${runner}: bytes at its interface` },
      milliseconds: summary(milliseconds),
      wire: { bytes },
      deviation: { by, from: 'cost(plan)' },
      bar: atMost(Math.abs(by), MOST_DEVIATION, `within ${100 * MOST_DEVIATION} %`),
    })
  }
  return rows
}

const bytesBetween = (before: Carried, after: Carried): number =>
  after.receivedBytes - before.receivedBytes + after.sentBytes - before.sentBytes

/** What two joined devices say to each other while nothing is asked, in a second. */
async function idleRow(host: Host, { name }: Workload): Promise<Row> {
  const before = host.carried()
  const started = performance.now()
  await new Promise(resolve => setTimeout(resolve, IDLE_MS))
  const took = performance.now() - started
  const bytes = (1000 * bytesBetween(before, host.carried())) / took
  const second = { median: 1000, least: 1000, most: 1000 }
  return { suite: SUITE, name, variant: 'joined, a second without requests', milliseconds: second, wire: { bytes } }
}
