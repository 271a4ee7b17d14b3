/** `prismal verify DIR…`: models against their golden results. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ModelError } from '@prismal/models'
import { availableBuilds, type Build } from '@prismal/tensor'
import { type Command, InvalidArgumentError } from 'commander'
import { type CaseResult, verifyFolder } from '../verify/verify.js'
import { versions } from '../versions.js'
import { table } from './units.js'

interface VerifyFlags {
  readonly build?: Build[]
  readonly way?: ('memory' | 'message-port')[]
  readonly json?: true
}

const WAYS = ['memory', 'message-port'] as const

const oneOf =
  <T extends string>(names: readonly T[]) =>
  (text: string, before: T[] | undefined): T[] => {
    if (!names.includes(text as T)) throw new InvalidArgumentError(`Here it is one of ${names.join(', ')}.`)
    return [...(before ?? []), text as T]
  }

export function addVerify(program: Command): void {
  program
    .command('verify')
    .description('hold models to their golden results, alone and shared, on every build')
    .argument('<dir...>', 'golden folders, or folders of them')
    .option('--build <name>', 'only this build (repeatable)', oneOf(availableBuilds()))
    .option('--way <name>', `only this way of sharing (repeatable): ${WAYS.join(', ')}`, oneOf(WAYS))
    .option('--json', 'print one JSON object')
    .action(verify)
}

async function verify(dirs: readonly string[], flags: VerifyFlags): Promise<void> {
  const results: CaseResult[] = []
  for (const folder of dirs.flatMap(goldenFolders)) {
    const found: CaseResult[] = []
    const options = { ...(flags.build && { builds: flags.build }), ...(flags.way && { ways: flags.way }) }
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

/** A row a case, a column a build and way; each cell is the case's worst error. */
function printFolder(folder: string, results: readonly CaseResult[]): void {
  const ways = [...new Set(results.filter(r => r.way !== 'alone').map(r => `${r.build} ${r.way}`))]
  const names = [...new Set(results.map(r => r.name))]
  const rows = names.map(name => [
    name,
    ...ways.map(column => {
      const [build] = column.split(' ')
      const found = results.find(
        r => r.name === name && (`${r.build} ${r.way}` === column || (r.way === 'alone' && r.build === build)),
      )
      return found ? `${found.worst.toExponential(1)}${found.failure ? ' ✗' : '  '}` : ''
    }),
    `≤ ${(results.find(r => r.name === name) as CaseResult).limit.toExponential(0)}`,
  ])
  console.log(`\n${folder}`)
  console.log(table([['max|got − want| / max|want|', ...ways.map(w => `${w}  `), ''], ...rows]))
  for (const { name, build, way, failure } of results)
    if (failure) console.log(`✗ ${name}, ${build}, ${way}: ${failure}`)
}
