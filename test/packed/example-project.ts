/** The examples as their readers have them: copied out of the repository, with the packed packages, and from the registry what else they name. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import { type Running, start } from '../prismal-command.js'
import { npm, PACKAGES, type PackageName, type Packed, REPOSITORY } from './pack.js'
import { RUNTIMES, type Runtime } from './runtimes.js'

const folder = join(REPOSITORY, 'examples')

/** Folders of examples/ that are packages. */
export const EXAMPLES: readonly string[] = readdirSync(folder).filter(name =>
  existsSync(join(folder, name, 'package.json')),
)

/** What running an example in the repository leaves there. */
const LEFT_BEHIND: ReadonlySet<string> = new Set(['node_modules', 'dist', 'package-lock.json'])

/** Versions that an example asks for, by the names of packages. */
export function dependenciesOf(example: string): Readonly<Record<string, string>> {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(folder, example, 'package.json'), 'utf8'))
  return { ...dependencies, ...devDependencies }
}

/** The commands of an example's README, without what is said of them. */
export const commandsOf = (example: string): string[] =>
  [...readFileSync(join(folder, example, 'README.md'), 'utf8').matchAll(/```console\n(.*?)```/gs)].flatMap(
    ([, block]) =>
      (block as string)
        .split('\n')
        .filter(line => line.startsWith('$ '))
        .map(line => line.slice(2).replace(/\s{2,}#.*$/, '')),
  )

/** Sources of an example, by their names. */
export const sourcesOf = (example: string): ReadonlyMap<string, string> =>
  new Map(
    (readdirSync(join(folder, example), { recursive: true }) as string[])
      .filter(name => /\.([jt]sx?|html)$/.test(name))
      .map(name => [name, readFileSync(join(folder, example, name), 'utf8')]),
  )

/**
 * All examples beside each other in a new folder, installed at once: workspaces of one project, whose own dependencies are the
 * tarballs, so that a version of ours is found there and not in the registry. Each then has what it names in its own
 * node_modules, as where it is installed alone.
 */
export function installExamples({ folder: packedFolder, tarballs }: Packed): string {
  const project = mkdtempSync(join(packedFolder, 'examples-'))
  for (const name of ['images', ...EXAMPLES])
    cpSync(join(folder, name), join(project, name), {
      recursive: true,
      filter: path => !LEFT_BEHIND.has(basename(path)),
    })
  const dependencies = Object.fromEntries((Object.keys(PACKAGES) as PackageName[]).map(n => [n, `file:${tarballs[n]}`]))
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, workspaces: EXAMPLES, dependencies }))
  npm(['install', '--no-audit', '--no-fund', '--ignore-scripts'], project)
  for (const example of EXAMPLES)
    for (const name of Object.keys(dependenciesOf(example))) {
      const own = join(project, example, 'node_modules', name)
      mkdirSync(dirname(own), { recursive: true })
      if (!existsSync(own)) symlinkSync(join(project, 'node_modules', name), own)
    }
  return project
}

/** Starts a line as a person's shell would in a folder, where `node` is one of ours; what is started gets the signals. */
export function shell(cwd: string, line: string, node: Runtime = 'Node 20'): Running {
  const { FORCE_COLOR: _, ...inherited } = process.env
  const first = [node, 'Deno', 'Bun', 'workerd'] as const
  const bin = join(cwd, '../node_modules/.bin')
  const PATH = [...first.map(runtime => dirname(RUNTIMES[runtime])), bin, process.env.PATH].join(delimiter)
  // What npx starts would be a process further down.
  const direct = line.replace(/^(\w+=\S+ )?npx /, '$1')
  const script = direct.includes('&&') ? direct : `exec env ${direct}`
  return start('bash', ['-c', script], { cwd, env: { ...inherited, PATH, NO_COLOR: '1' } })
}
