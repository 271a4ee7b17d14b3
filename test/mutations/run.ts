/**
 * Shows that the tests can fail: breaks a copy of the repository in one way after another, builds what that touches, and
 * expects a suite to turn red each time. `npm run test:mutations -- sink` runs those whose name contains "sink".
 */
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasNatsServer } from '../nats-server.js'
import { MUTATIONS, type Mutation } from './mutations.js'
import { NATS_MUTATIONS } from './nats.js'
import { SECURITY_MUTATIONS } from './security.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const top = mkdtempSync(join(tmpdir(), 'prismal-mutations-'))
const copy = join(top, 'repository')

/** Copies sources and builds; packages of others are linked, our own lead into the copy. */
function makeCopy(): void {
  cpSync(root, copy, { recursive: true, filter: path => !/[\\/](node_modules|\.git)$/.test(path) })
  const shared = join(root, '../shared')
  if (existsSync(shared)) symlinkSync(shared, join(top, 'shared'))
  for (const modules of [
    'node_modules',
    'packages/prismal/node_modules',
    'weights-tools/node_modules',
    'kernels-as/node_modules',
  ])
    if (existsSync(join(root, modules))) linkModules(modules)
}

function linkModules(modules: string): void {
  mkdirSync(join(copy, modules), { recursive: true })
  for (const name of readdirSync(join(root, modules))) {
    if (name === '@prismal') continue
    const target = name === 'prismal' ? join(copy, 'packages/prismal') : join(root, modules, name)
    symlinkSync(target, join(copy, modules, name))
  }
  if (modules !== 'node_modules') return
  const ours = {
    tensor: 'packages',
    models: 'packages',
    distribute: 'packages',
    'vit-cifar10': 'models',
    'gpt2-chronicle': 'models',
  }
  mkdirSync(join(copy, modules, '@prismal'))
  for (const [name, folder] of Object.entries(ours))
    symlinkSync(join(copy, folder, name), join(copy, modules, '@prismal', name))
  symlinkSync(join(copy, 'kernels-as'), join(copy, modules, '@prismal/kernels'))
  symlinkSync(join(copy, 'weights-tools'), join(copy, modules, '@prismal/weights-tools'))
}

const node = process.env.npm_node_execpath ?? process.execPath
const bin = (name: string): string => join(root, 'node_modules', name)

function build(workspaces: readonly string[]): void {
  for (const workspace of workspaces) {
    const cwd = join(copy, workspace)
    const script =
      workspace === 'kernels-as'
        ? [bin('tsx/dist/cli.mjs'), 'build.ts']
        : [bin('tsup/dist/cli-default.js'), '--no-minify']
    const { status, stdout, stderr } = spawnSync(node, script, { cwd, encoding: 'utf8' })
    if (status !== 0) throw new Error(`building ${workspace} failed:\n${stdout}${stderr}`)
  }
}

/** Whether all suites pass; `tell` is given what vitest said where they do not. */
function passes(suites: readonly string[], tell: (said: string) => void = () => {}): boolean {
  const { status, stdout } = spawnSync(node, [bin('vitest/vitest.mjs'), 'run', '--bail=1', ...suites], {
    cwd: copy,
    encoding: 'utf8',
    // As few values as anyone tries at work, the same each time.
    env: { ...process.env, CI: '', PROPERTY_SEED: '250712145' },
  })
  if (/No test files found/.test(stdout)) throw new Error(`there is no suite ${suites.join(', ')}`)
  if (status !== 0) tell(stdout)
  return status === 0
}

/** Applies the edits and returns what undoes them. */
function apply({ name, edits }: Mutation): () => void {
  const before = new Map<string, string>()
  for (const { file, find, replace } of edits) {
    const path = join(copy, file)
    const text = readFileSync(path, 'utf8')
    if (!before.has(path)) before.set(path, text)
    if (!text.includes(find)) throw new Error(`mutation "${name}": ${file} has no ${find}`)
    writeFileSync(path, text.replace(find, replace))
  }
  return () => {
    for (const [path, text] of before) writeFileSync(path, text)
  }
}

function main(): boolean {
  const chosen = [...MUTATIONS, ...SECURITY_MUTATIONS, ...(hasNatsServer ? NATS_MUTATIONS : [])].filter(m =>
    m.name.includes(process.argv[2] ?? ''),
  )
  makeCopy()
  const suites = [...new Set(chosen.flatMap(m => m.suites))]
  if (!passes(suites, said => console.error(said)))
    throw new Error(`the suites fail before anything is broken: ${suites.join(', ')}`)
  let survived = 0
  for (const mutation of chosen) {
    const undo = apply(mutation)
    build(mutation.build)
    const isRed = !passes(mutation.suites)
    console.log(`${isRed ? 'red  ' : 'GREEN'}  ${mutation.name}`)
    if (!isRed) survived++
    undo()
    build(mutation.build)
  }
  console.log(`\n${chosen.length - survived} passed, ${survived} failed`)
  return survived === 0
}

try {
  process.exitCode = main() ? 0 : 1
} finally {
  rmSync(top, { recursive: true, force: true })
}
