/**
 * What works where, as the suites of this folder find it: one JSON file a runtime in `build/` (which git ignores), from
 * which `write-table.ts` makes the README's table. Whoever runs a runtime calls {@link record} with what was seen there.
 *
 *     {
 *       "runtime": "Node 24",                    a name of RUNTIMES
 *       "version": "24.21.0",
 *       "simd": { "works": true },
 *       "relaxedSimd": { "works": true },
 *       "threads": { "works": true },            several threads of one engine gave the bits of one
 *       "messagePort": { "works": true },        two devices in threads of their own gave the golden answers
 *       "coordinator": { "works": true },        asked a device in another process, over a web-socket
 *       "worker": { "works": true },             was asked by a coordinator in another process
 *       "images": { "works": true, "note": "JPEG, PNG" }
 *     }
 *
 * A `note` is what the table says beside the mark, or, where it does not work, why not.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RUNTIMES, type Runtime } from './runtimes.js'

export interface Found {
  readonly works: boolean
  readonly note?: string
}

/** The table's columns, as headings call them. */
export const COLUMNS = {
  simd: 'SIMD',
  relaxedSimd: 'relaxed SIMD',
  threads: 'threads',
  messagePort: 'devices in threads',
  coordinator: 'coordinator',
  worker: 'worker',
  images: 'image decoding',
} as const
export type Column = keyof typeof COLUMNS

export interface RuntimeRecord extends Readonly<Record<Column, Found>> {
  readonly runtime: Runtime
  readonly version: string
}

const folder = fileURLToPath(new URL('build/', import.meta.url))

/** Writes what was seen in a runtime, in place of what a run before had seen. */
export function record(found: RuntimeRecord): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${found.runtime}.json`), `${JSON.stringify(found, null, 2)}\n`)
}

/** What the last runs have seen, of every runtime that ran. */
export function recorded(): RuntimeRecord[] {
  mkdirSync(folder, { recursive: true })
  return readdirSync(folder)
    .filter(name => Object.keys(RUNTIMES).some(runtime => name === `${runtime}.json`))
    .map(name => JSON.parse(readFileSync(join(folder, name), 'utf8')))
}
