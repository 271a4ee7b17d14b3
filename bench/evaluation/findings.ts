/** bench/results/evaluation.json: everything that was found, from which the report is written. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Chosen } from './calibration.js'
import type { Finding } from './finding.js'
import type { Tried } from './tried.js'

export interface Findings {
  /** By the experiments' names, in their order. */
  readonly experiments: Readonly<Record<string, Finding>>
  /** By the calibrations' titles. */
  readonly calibrations: Readonly<Record<string, FoundCalibration>>
  readonly tried: readonly Tried[]
}

export interface FoundCalibration {
  /** Digest of what was run. */
  readonly key: string
  readonly chosen: readonly Chosen[]
}

export const NOTHING: Findings = { experiments: {}, calibrations: {}, tried: [] }

/** What a file has; nothing where there is none. */
export const readFindings = (file: string): Findings =>
  existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8'), (_, value) => (value === INFINITE ? Infinity : value)) as Findings)
    : NOTHING

/** Writes them whole or not at all. A cell is a line, so that changes can be read. */
export function writeFindings(file: string, findings: Findings): void {
  const unfinished = `${file}.part`
  writeFileSync(unfinished, `${textOf(findings)}\n`)
  renameSync(unfinished, file)
}

/** JSON has no such number. */
const INFINITE = 'Infinity'
/** Values this deep stand on a line of their own. */
const LINES = 4

function textOf(value: unknown, depth = 0): string {
  if (depth < LINES && typeof value === 'object' && value !== null) {
    const indent = `\n${' '.repeat(depth + 1)}`
    const [open, close, parts] = Array.isArray(value)
      ? ['[', ']', value.map(v => textOf(v, depth + 1))]
      : ['{', '}', Object.entries(value).map(([name, v]) => `${JSON.stringify(name)}: ${textOf(v, depth + 1)}`)]
    return parts.length === 0
      ? open + close
      : `${open}${indent}${parts.join(`,${indent}`)}\n${' '.repeat(depth)}${close}`
  }
  return JSON.stringify(value, (_, v) => (v === Infinity ? INFINITE : v))
}
