/** README.md and docs: programs run as they stand and give what their comments say, commands exist, quotes are quotes. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cifarFile } from '../evaluate/data.js'
import { CLI, WEIGHTS_CLI } from '../prismal-command.js'
import { temporaryFolder } from '../temporary-folder.js'
import { commandsIn, kindOf, SNIPPETS, snippetsOf, withChecks } from './read.js'

const TOLD = './test/snippets/told.mjs'

// Beside the repository's packages, so that they are found as an installed package would be; not TypeScript in any line.
const program = `readme-snippet-${process.pid}.mjs`
const folder = temporaryFolder()
beforeAll(() => {
  mkdirSync(join(folder, 'data'))
  writeFileSync(join(folder, 'data/test_batch.bin'), cifarFile(8))
})
afterAll(() => rmSync(program, { force: true }))
const runs = (code: string): { status: number | null; stderr: string } => {
  writeFileSync(program, code)
  const { status, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8' })
  return { status, stderr }
}

it('knows how each block is tested', () => {
  for (const snippet of SNIPPETS) expect(kindOf(snippet)).toBeTruthy()
  expect(SNIPPETS.length).toBeGreaterThan(20)
})

describe('programs', () => {
  it.each(snippetsOf('program'))('%s runs', (_, { text }) => {
    const own = text
      .replaceAll("'data/cifar10'", JSON.stringify(join(folder, 'data/test_batch.bin')))
      .replaceAll("'cells'", JSON.stringify(join(folder, 'cells')))
      .replace('limit: 1000', 'limit: 2')
    expect(runs(withChecks(own, TOLD).code)).toEqual({ status: 0, stderr: '' })
  })

  it('say in comments what they give', () => {
    const claims = snippetsOf('program').map(([, { text }]) => withChecks(text, TOLD).claims)
    expect(claims.reduce((sum, n) => sum + n)).toBeGreaterThan(0)
  })

  it.each([
    ["const [best] = [{ label: 'cat', score: 0.8471 }] // { label: 'cat', score: 0.847 }", true],
    ["const [best] = [{ label: 'cat', score: 0.8471 }] // { label: 'cat', score: 0.848 }", false],
    ["const [best] = [{ label: 'cat', score: 0.8471 }] // { label: 'dog', … }", false],
    ["const [best] = [{ label: 'cat', score: 0.8471 }] // { label: 'cat', … }", true],
    ["const [best] = [{ label: 'cat', score: 0.8471 }] // { label: 'cat' }", false],
    ['const all = [1, 2, 3] // [1, 2, …]', true],
    ['console.log([1, 2, 3]) // [1, 2]', false],
    ['console.log(await [1, 2, 3]) // [1, 2, 3]', true],
  ])('%s: %s', (line, isTrue) => {
    const { status, stderr } = runs(withChecks(line, TOLD).code)
    expect(status === 0, stderr).toBe(isTrue)
  })

  it('may not claim anything that is not looked at', () => {
    expect(() => withChecks('f(1) // { a: 1 }', TOLD)).toThrow('what does this comment speak of?')
  })
})

it.each(snippetsOf('quote'))('%s quotes a file', (_, { about, text }) => {
  const rest = readFileSync(about, 'utf8').split('\n')
  for (const line of text.trimEnd().split('\n'))
    if (line.trim() !== '…') {
      const index = rest.indexOf(line)
      expect(index, `${about} has, in this order: ${line}`).toBeGreaterThanOrEqual(0)
      rest.splice(0, index + 1)
    }
})

it.each(snippetsOf('elsewhere'))('%s is run by the test that it names', (_, { about, file }) => {
  expect(readFileSync(about, 'utf8')).toContain(`'${file}'`)
})

describe('commands', () => {
  const help = new Map<string, string>()
  const helpOf = (cli: string, name: string): string => {
    const key = `${cli} ${name}`
    const known = help.get(key) ?? spawnSync(process.execPath, [cli, name, '--help'], { encoding: 'utf8' }).stdout
    help.set(key, known)
    return known
  }
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'))

  it.each(snippetsOf('console'))('%s names commands and options that exist', (_, snippet) => {
    for (const { command } of commandsIn(snippet)) {
      const [, tool, name = '', rest = ''] = /^(?:npx )?(prismal(?:-weights)?) (\S+)(.*)$/.exec(command) ?? []
      if (tool) {
        const found = helpOf(tool === 'prismal' ? CLI : WEIGHTS_CLI, name)
        expect(found, command).toContain(`${tool} ${name}`)
        for (const [flag] of rest.matchAll(/(?<= )--[\w-]+/g)) expect(found, command).toContain(flag)
      }
      for (const [, script = ''] of command.matchAll(/npm run ([\w:-]+)/g))
        expect(Object.keys(scripts), command).toContain(script)
    }
  })

  const shown = snippetsOf('console').flatMap(([place, snippet]) =>
    commandsIn(snippet)
      .filter(({ command, output }) => command.startsWith('npx prismal run') && output.length > 0)
      .map(({ command, output }) => [place, command, output[0] as string] as const),
  )
  it.each(shown)('%s: %s answers as shown', (_, command, answer) => {
    const [, , ...args] = command.split(' ')
    const { stdout } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8' })
    expect(stdout.split('\n')[0]).toBe(answer)
  })
  it('are shown with their answer somewhere', () => expect(shown.length).toBeGreaterThan(0))
})
