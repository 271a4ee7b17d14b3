/** What the benchmarks found: rows, the table they are printed as, and the machine they were found on. */
import { arch, cpus, loadavg, platform, totalmem } from 'node:os'
import type { Summary } from './measure.js'

/** A limit that a figure must reach at this stage. */
export interface Bar {
  readonly least?: number
  readonly most?: number
  readonly text: string
  readonly ok: boolean
}

export interface Row {
  readonly suite: string
  readonly name: string
  /** What tells rows of a name apart: build, shape, devices. */
  readonly variant: string
  /** Milliseconds of a call: median over the turns, and the fastest and slowest turn. */
  readonly milliseconds: Summary
  readonly rate?: { readonly value: number; readonly unit: 'GF/s' | 'GOP/s' | 'GB/s' | 'MB/s' | 'tokens/s' | '/s' }
  /** Share of what the machine can do, 1 being all of it; and of what. */
  readonly ofPeak?: { readonly share: Summary; readonly of: string }
  /** How many times as fast as another row, over the turns. */
  readonly times?: { readonly factor: Summary; readonly than: string }
  /** Resident memory: the peak over what it is counted from, and how much of it the weights are, in bytes. */
  readonly memory?: {
    readonly peakBytes: number
    readonly weightBytes: number
    readonly over: 'nothing' | 'the process before'
  }
  /** What crossed a network interface, in bytes a request. */
  readonly wire?: { readonly bytes: number }
  /** By which share a figure differs from what was stated, 0 being not at all; and which of the two it is told from. */
  readonly deviation?: { readonly by: number; readonly from: string }
  /** What the milliseconds are made of, where it can be told. */
  readonly split?: { readonly compute: number; readonly staging: number; readonly network: number }
  readonly bar?: Bar
}

/** What a suite found that is not a figure. */
export interface Remark {
  readonly suite: string
  readonly text: string
}

/** What could not be measured here. */
export interface NotMeasured {
  readonly suite: string
  readonly name: string
  readonly variant: string
  readonly reason: string
}

/** What the figures were found on. */
export interface Environment {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly platform: string
  readonly node: string
  readonly v8: string
  /** Processes that wanted a core in the minute before: above 0 others were at work. */
  readonly load: number
  /** ISO 8601. */
  readonly date: string
}

/** Everything that `--json` writes. */
export interface Findings {
  readonly machine: Environment
  readonly quick: boolean
  /** 10⁹ operations and 10⁹ bytes a second, one core; absent where no suite that ran needed them. */
  readonly peaks?: object
  readonly rows: readonly Row[]
  /** What storing matrices in fewer bits costs. */
  readonly accuracy: readonly object[]
  readonly notMeasured: readonly NotMeasured[]
  readonly remarks?: readonly Remark[]
  /** Figures above what was measured as possible: something was measured wrongly. */
  readonly impossible: readonly string[]
}

export function thisMachine(): Environment {
  const cores = cpus()
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryBytes: totalmem(),
    platform: `${platform()} ${arch()}`,
    node: process.versions.node,
    v8: process.versions.v8,
    load: loadavg()[0] ?? 0,
    date: new Date().toISOString(),
  }
}

/** A bar for `value`, written with its unit by `text`. */
export const bar = (value: number, least: number, text: string): Bar => ({ least, text, ok: value >= least })

/** The same for what must not be more than `most`. */
export const atMost = (value: number, most: number, text: string): Bar => ({ most, text, ok: value <= most })

export const HEAD = [
  ...['', '', 'ms', 'turns', 'rate', '', 'share', 'of', 'factor', 'than', 'peak MB', 'weights'],
  ...['wire kB', 'off', 'from', 'bar', ''],
] as const

/** Columns whose cells are words, which begin on the left. */
const WORDS = new Set<string>(['', 'of', 'than', 'from', 'bar'])

/** Rows as aligned columns; numbers to the right. */
export const table = (rows: readonly Row[]): string => aligned(HEAD, rows.map(cellsOf))

/** Lines as aligned columns, without those that are empty. */
export function aligned(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const cells = [head, ...lines]
  const isUsed = head.map((_, c) => lines.some(line => line[c] !== ''))
  const widths = head.map((_, c) => Math.max(...cells.map(line => line[c]!.length)))
  const text = (line: readonly string[]): string =>
    line
      .map((cell, c) => (WORDS.has(head[c]!) ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!)))
      .filter((_, c) => isUsed[c])
      .join('  ')
      .trimEnd()
  return cells.map(text).join('\n')
}

/** The cells of a row, under {@link HEAD}; empty where it has no such figure. */
export function cellsOf(row: Row): string[] {
  const { name, variant, milliseconds: ms, rate, ofPeak, times, memory, wire, deviation, bar } = row
  return [
    ...[name, variant],
    ...[figure(ms.median), `${figure(ms.least)}…${figure(ms.most)}`],
    ...(rate ? [figure(rate.value), rate.unit] : ['', '']),
    ...(ofPeak ? [percent(ofPeak.share), ofPeak.of] : ['', '']),
    ...(times ? [factor(times.factor), times.than] : ['', '']),
    ...(memory ? [megabytes(memory.peakBytes), megabytes(memory.weightBytes)] : ['', '']),
    ...[wire ? (wire.bytes / 1000).toFixed(1) : ''],
    ...(deviation ? [signed(deviation.by), deviation.from] : ['', '']),
    ...(bar ? [bar.text, bar.ok ? 'ok' : 'short'] : ['', '']),
  ]
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0)
/** The figure that a row's bar is about. */
export function figureOf({ milliseconds, rate, ofPeak, times, memory, deviation }: Row): string {
  if (memory) return `${megabytes(memory.peakBytes)} MB, ${megabytes(memory.weightBytes)} MB of it weights`
  if (times) return factor(times.factor)
  if (ofPeak) return `${percent(ofPeak.share)} of ${ofPeak.of}`
  if (deviation) return `${signed(deviation.by)} of ${deviation.from}`
  return rate ? `${figure(rate.value)} ${rate.unit}` : `${figure(milliseconds.median)} ms`
}

/** Three significant digits, without an exponent. */
export const figure = (value: number): string => {
  if (value >= 100) return value.toFixed(0)
  return value.toFixed(value >= 10 ? 1 : value >= 1 ? 2 : value >= 0.1 ? 3 : 4)
}
const percent = ({ median, least, most }: Summary): string => {
  const of = (share: number): string => (100 * share).toFixed(0)
  return least === most ? `${of(median)} %` : `${of(median)} % (${of(least)}…${of(most)})`
}
const signed = (share: number): string => `${share < 0 ? '−' : '+'}${(100 * Math.abs(share)).toFixed(2)} %`
const factor = ({ median, least, most }: Summary): string =>
  `${median.toFixed(2)}× (${least.toFixed(2)}…${most.toFixed(2)})`

/** By as much may the machine's clock differ between two measurements. */
const LEEWAY = 0.03

/**
 * What was faster, in its fastest turn, than the machine was found to be at best: one of the two was measured wrongly.
 */
export function impossible(rows: readonly Row[], peakGflops = Number.POSITIVE_INFINITY): string[] {
  return rows.flatMap(({ suite, name, variant, milliseconds: { median, least }, rate, ofPeak }) => {
    const what = `${suite} ${name}, ${variant}`
    const atBest = median / least
    if (rate?.unit === 'GF/s' && rate.value * atBest > peakGflops * (1 + LEEWAY))
      return [`${what}: ${figure(rate.value * atBest)} GF/s, the peak being ${figure(peakGflops)}`]
    if (rate?.unit === 'GB/s' && ofPeak && ofPeak.share.median * atBest > 1 + LEEWAY)
      return [
        `${what}: ${figure(rate.value * atBest)} GB/s, ${figure(100 * ofPeak.share.median * atBest)} % of ${ofPeak.of}`,
      ]
    return []
  })
}
