/**
 * Writes what the last runs of the suites have seen into the README's table of what works where, between its marks:
 * `npx tsx test/packed/write-table.ts`. A runtime that did not run keeps the row that it has.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { REPOSITORY } from './pack.js'
import { COLUMNS, type Column, type Found, type RuntimeRecord, recorded } from './results.js'
import { RUNTIMES } from './runtimes.js'

const [BEGIN, END] = ['<!-- what works where: begin -->', '<!-- what works where: end -->']

const cell = ({ works, note }: Found): string => {
  const mark = works ? 'yes' : 'no'
  return note === undefined ? mark : `${mark} (${note})`
}
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

const rowOf = (found: RuntimeRecord): string =>
  row([`${found.runtime} (${found.version})`, ...(Object.keys(COLUMNS) as Column[]).map(name => cell(found[name]))])

/** Whether a README says of a runtime what was seen there, in whatever version. */
export function tells(readme: string, found: RuntimeRecord): boolean {
  const anyVersion = (line: string): string => line.replace(/^(\| [^|]*?) \(.*?\)/, '$1')
  return readme.split('\n').some(line => anyVersion(line) === anyVersion(rowOf(found)))
}

/** The README's text with the rows of these runtimes. Throws where the marks are missing. */
export function withTable(readme: string, records: readonly RuntimeRecord[]): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`README.md lacks ${BEGIN} and ${END}`)
  const names = Object.keys(COLUMNS) as Column[]
  const before = readme.slice(begin, end).split('\n')
  const rows = Object.keys(RUNTIMES).flatMap(runtime => {
    const found = records.find(r => r.runtime === runtime)
    if (found) return rowOf(found)
    return before.find(line => line.startsWith(`| ${runtime} (`)) ?? []
  })
  const head = [row(['', ...names.map(name => COLUMNS[name])]), `|${'---|'.repeat(names.length + 1)}`]
  return `${readme.slice(0, begin)}${[BEGIN, ...head, ...rows].join('\n')}\n${readme.slice(end)}`
}

if (process.argv[1] === import.meta.filename) {
  const path = join(REPOSITORY, 'README.md')
  writeFileSync(path, withTable(readFileSync(path, 'utf8'), recorded()))
}
