/** `prismal verify DIR…`: models against their golden results. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ModelError } from '@prismal/models'
import { availableBuilds, type Build, PRECISIONS, type Precision } from '@prismal/tensor'
import { type Command, InvalidArgumentError } from 'commander'
import { type CaseResult, type SharedWay, verifyFolder, WAYS } from '../verify/verify.js'
import { versions } from '../versions.js'
import { whole } from './sharing.js'
import { table } from './units.js'

interface VerifyFlags {
  readonly build?: Build[]
  readonly way?: SharedWay[]
  readonly nats?: string
  readonly dtype?: Precision[]
  readonly threads?: number[]
  readonly json?: true
}

const oneOf =
  <T extends string>(names: readonly T[]) =>
  (text: string, before: T[] | undefined): T[] => {
    if (!names.includes(text as T)) throw new InvalidArgumentError(`Here it is one of ${names.join(', ')}.`)
    return [...(before ?? []), text as T]
  }

export function addVerify(program: Command): void {
  program
    .command('verify')
    .description('hold models to their golden results, alone and shared, on every build, dtype and number of threads')
    .argument('<dir...>', 'golden folders, or folders of them')
    .option('--build <name>', 'only this build (repeatable)', oneOf(availableBuilds()))
    .option('--way <name>', `this way of sharing (repeatable; default: the first two): ${WAYS.join(', ')}`, oneOf(WAYS))
    .option('--nats <url>', 'the server for nats (default: nats://127.0.0.1:4222)')
    .option('--dtype <name>', `only matrices stored so (repeatable): ${PRECISIONS.join(', ')}`, oneOf(PRECISIONS))
    .option('--threads <n>', 'only this number of threads (repeatable)', (text, before: number[] | undefined) => [
      ...(before ?? []),
      whole(1)(text),
    ])
    .option('--json', 'print one JSON object')
    .action(verify)
}

async function verify(dirs: readonly string[], flags: VerifyFlags): Promise<void> {
  const results: CaseResult[] = []
  for (const folder of dirs.flatMap(goldenFolders)) {
    const found: CaseResult[] = []
    const { build, way, dtype, threads } = flags
    const options = {
      ...(build && { builds: build }),
      ...(way && { ways: way }),
      ...(flags.nats && { nats: flags.nats }),
      ...(dtype && { precisions: dtype }),
      ...(threads && { threads }),
    }
    for await (const result of verifyFolder(folder, options)) {
      found.push(result)
      if (process.stderr.isTTY) process.stderr.write(`\r${folder}: ${found.length} cases …`)
    }
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
    if (!flags.json) printFolder(folder, found)
    results.push(...found)
  }
  const failed = results.filter(r => r.failure)
  if (flags.json)
    console.log(
      JSON.stringify({
        output: results,
        passed: results.length - failed.length,
        failed: failed.length,
        versions: versions(),
      }),
    )
  else console.log(`\n${results.length - failed.length} passed, ${failed.length} failed`)
  if (failed.length > 0) process.exitCode = 1
}

/** The folder itself, or those in it that have a cases.json. */
function goldenFolders(dir: string): string[] {
  if (!existsSync(dir)) throw new ModelError(`${dir} does not exist`)
  if (existsSync(join(dir, 'cases.json'))) return [dir]
  const folders = readdirSync(dir)
    .map(name => join(dir, name))
    .filter(folder => existsSync(join(folder, 'cases.json')))
  if (folders.length === 0)
    throw new ModelError(`${dir} has no cases.json, and no folder in it has one: nothing to verify it against`)
  return folders.sort()
}

/** What is alone: a row a case, dtype and number of threads, a column a build. What is shared: a row a case, a column a build and way. */
function printFolder(folder: string, results: readonly CaseResult[]): void {
  console.log(`\n${folder}`)
  const head = 'max|got − want| / max|want|'
  const alone = results.filter(r => r.way === 'alone')
  printTable(
    head,
    alone,
    ({ name, precision, threads: n }) => `${name}, ${precision}, ${n} thread${n > 1 ? 's' : ''}`,
    r => r.build,
  )
  const shared = results.filter(r => r.way !== 'alone')
  if (shared.length > 0)
    printTable(
      head,
      shared,
      r => r.name,
      r => `${r.build} ${r.way}`,
    )
  for (const { name, build, precision, threads, way, failure } of results)
    if (failure) console.log(`✗ ${name}, ${build}, ${precision}, ${threads} threads, ${way}: ${failure}`)
}

/** Each cell is a case's worst error. */
function printTable(
  head: string,
  results: readonly CaseResult[],
  rowOf: (result: CaseResult) => string,
  columnOf: (result: CaseResult) => string,
): void {
  const [names, columns] = [rowOf, columnOf].map(of => [...new Set(results.map(of))]) as [string[], string[]]
  const rows = names.map(name => {
    const row = results.filter(r => rowOf(r) === name)
    const cells = columns.map(column => {
      const found = row.find(r => columnOf(r) === column)
      return found ? `${found.worst.toExponential(1)}${found.failure ? ' ✗' : '  '}` : ''
    })
    return [name, ...cells, `≤ ${(row[0] as CaseResult).limit}`]
  })
  console.log(table([[head, ...columns.map(c => `${c}  `), ''], ...rows]))
}
