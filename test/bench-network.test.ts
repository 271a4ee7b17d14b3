/** What the network's benchmarks stand on: pairs of processes, hosts of their own, and nothing left of either. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { chartsOf } from '../bench/chart-data.js'
import { markdownOf } from '../bench/markdown.js'
import { BOARDS } from '../bench/network/boards.js'
import { BATCH_NAME, BATCH_VARIANTS, boardsTable } from '../bench/network/boards-table.js'
import { namespacesOf, twoHosts, whyNoHosts } from '../bench/network/namespaces.js'
import { compete, type PairStart, withPairs } from '../bench/network/pair.js'
import { secretFile } from '../bench/network/worker-process.js'
import { atMost, type Findings, figureOf, type Row, table } from '../bench/report.js'
import { compileScripts } from '../bench/scripts.js'
import { temporaryFolder } from './temporary-folder.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const VIT = `${root}/models/vit-cifar10`
const why = whyNoHosts()
if (why !== undefined) console.log(`skipped: what needs hosts of its own, since ${why}`)

const START: PairStart = {
  ...{ folder: VIT, dtype: 'f32', subject: { kind: 'image' } },
  runners: { alone: 'alone', means: { strategy: 'means', segments: 3 }, full: { strategy: 'full' } },
}
const ONCE = { rounds: 2, turnMs: 1, warmMs: 1 }

describe('a coordinator and a worker', () => {
  beforeAll(compileScripts, 60_000)

  it('compute together what one device computes, in turns with it', () =>
    withPairs([START], async pair => {
      expect(await pair.difference('full')).toBeLessThan(1e-4)
      expect(await pair.difference('means')).toBeGreaterThan(1e-4)
      const found = await compete(
        [
          { pair, runner: 'alone', batch: 1 },
          { pair, runner: 'means', batch: 2 },
        ],
        ONCE,
      )
      for (const { turns } of found) {
        expect(turns).toHaveLength(2)
        expect(turns.every(ms => ms > 0)).toBe(true)
      }
      expect(await pair.planned({ runner: 'means', batch: 2 })).toHaveLength(2)
      await expect(pair.turn({ runner: 'nobody', batch: 1 }, 1)).rejects.toThrow('there is no runner "nobody"')
    }))

  it('that hold other models say so, and neither is left', async () => {
    const other = { ...START, folder: `${root}/models/nowhere` }
    await expect(withPairs([other], async () => {})).rejects.toThrow(/prismal worker ended: .*nowhere/)
  })

  it.runIf(why === undefined)(
    'on hosts of their own: the interface carries what the plan says, and its frames',
    async () => {
      const network = twoHosts()
      const secret = secretFile()
      try {
        await withPairs([{ ...START, hosts: network.hosts, secretFile: secret.path }], async pair => {
          const choice = { runner: 'full', batch: 1 }
          await pair.turn(choice, 1)
          const [, worker] = await pair.planned(choice)
          const due = worker!.bytesSent + worker!.bytesReceived + worker!.inputBytes + worker!.outputBytes
          const before = network.hosts[1].carried()
          await pair.turn(choice, 4)
          const after = network.hosts[1].carried()
          const sent = (after.sentBytes - before.sentBytes) / 4
          const received = (after.receivedBytes - before.receivedBytes) / 4
          expect(sent).toBeGreaterThan(worker!.bytesSent)
          expect(received).toBeGreaterThan(worker!.bytesReceived + worker!.inputBytes)
          expect(sent + received).toBeLessThan(1.1 * due)
        })
      } finally {
        secret.remove()
        network.remove()
      }
      expect(namespacesOf(process.pid)).toEqual([])
    },
  )
})

/** Processes whose environment has this value; Linux tells. */
function processesWith(mark: string): string[] {
  return readdirSync('/proc').filter(pid => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(mark)
    } catch {
      return false // gone meanwhile, or another user's
    }
  })
}

describe.runIf(process.platform === 'linux')('a bench that is interrupted', () => {
  const start = async (mark: string): Promise<ChildProcess> => {
    const args = ['--import', 'tsx', `${root}/test/bench-until-interrupted.ts`]
    // Killed outright, it leaves its secret's folder: within ours.
    const env = { ...process.env, PRISMAL_BENCH_MARK: mark, TMPDIR: temporaryFolder() }
    const bench = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] })
    for await (const line of createInterface({ input: bench.stdout! })) if (line === 'ready') break
    return bench
  }

  it.each(['SIGINT', 'SIGTERM'] as const)('by %s leaves no process and no host', async signal => {
    const mark = randomUUID()
    const bench = await start(mark)
    expect(processesWith(mark).length).toBeGreaterThanOrEqual(3)
    expect(namespacesOf(bench.pid)).toHaveLength(why === undefined ? 2 : 0)
    bench.kill(signal)
    const [code] = (await once(bench, 'exit')) as [number]
    expect(code).toBe(signal === 'SIGINT' ? 130 : 143)
    await expect.poll(() => processesWith(mark), { timeout: 20_000 }).toEqual([])
    expect(namespacesOf(bench.pid)).toEqual([])
  })

  it.runIf(why === undefined)('outright leaves hosts to be removed by whoever makes some next', async () => {
    const mark = randomUUID()
    const bench = await start(mark)
    const processes = processesWith(mark).filter(pid => Number(pid) !== bench.pid)
    bench.kill('SIGKILL')
    await once(bench, 'exit')
    expect(namespacesOf(bench.pid)).toHaveLength(2)
    twoHosts().remove()
    expect(namespacesOf(bench.pid)).toEqual([])
    for (const pid of processes) if (processesWith(mark).includes(pid)) process.kill(Number(pid), 'SIGKILL')
  })
})

describe('the report of the network', () => {
  const all = (value: number) => ({ median: value, least: value, most: value })
  const row = (name: string, variant: string, ms: number, more: Partial<Row> = {}): Row => ({
    ...{ suite: 'network', name, variant, milliseconds: all(ms), ...more },
  })
  const split = { compute: 240, staging: 2, network: 8 }
  const rows = BOARDS.slice(0, 2).flatMap(({ batch }) => [
    row(`${BATCH_NAME}${batch}`, BATCH_VARIANTS.alone, 500),
    row(`${BATCH_NAME}${batch}`, BATCH_VARIANTS.means, 250, { times: { factor: all(2), than: 'x' }, split }),
    row(`${BATCH_NAME}${batch}`, BATCH_VARIANTS.full, 400, { times: { factor: all(1.25), than: 'x' } }),
  ])

  it("has the boards' table beside ours", () => {
    const { head, lines } = boardsTable(rows)
    expect(lines.map(line => line.length)).toEqual([head.length, head.length])
    expect(lines[0]).toEqual([
      ...['1', '500', '240 / 2.0 / 8.0 = 250', '2.00×', '400', '1.25×'],
      ...['81', '123 / 27 / 19 = 168', '0.48×', '351', '0.23×'],
    ])
  })

  it("has the boards' parts add up to their totals", () => {
    for (const { means } of BOARDS)
      expect(Math.abs(means.compute + means.staging + means.network - means.total)).toBeLessThan(0.35)
  })

  it('charts factors, not milliseconds of different machines', () => {
    const [chart] = chartsOf({ rows } as unknown as Findings)
    expect(chart?.categories).toEqual(['batch 1', 'batch 2'])
    expect(chart?.series[0]?.values).toEqual([2, 2])
    expect(chart?.series[1]?.values[0]).toBeCloseTo(80.6 / 168.1)
  })

  it('says by how much bytes and times are off, remarks and what was not measured', () => {
    const deviation = { by: -0.004, from: 'cost(plan)' }
    const bytes = row('vit-b16', 'bytes', 9, {
      wire: { bytes: 1.5e6 },
      deviation,
      bar: atMost(0.004, 0.01, 'within 1 %'),
    })
    expect(figureOf(bytes)).toBe('−0.40 % of cost(plan)')
    expect(table([bytes])).toMatch(/1500\.0 +−0\.40 % +cost\(plan\) +within 1 % +ok/)
    expect(figureOf(row('exchange', 'web-socket', 0.25, { bar: atMost(0.25, 0.5, '≤ 0.5 ms') }))).toBe('0.250 ms')
    const text = markdownOf({
      ...{ machine: { memoryBytes: 1, load: 0 }, rows: [bytes], impossible: [] },
      remarks: [{ suite: 'network', text: 'The plan picks whole.' }],
      notMeasured: [{ suite: 'network', name: 'nats', variant: 'exchange', reason: 'no server' }],
    } as unknown as Findings)
    expect(text).toContain('The plan picks whole.')
    expect(text).toContain('- nats, exchange: no server')
  })
})
