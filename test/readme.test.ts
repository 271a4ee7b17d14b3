/** The README's programs run as they stand. */
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'

const snippets = [...readFileSync('README.md', 'utf8').matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code as string)
// Beside the repository's packages, so that they are found as an installed package would be; not TypeScript in any line.
const file = (i: number): string => `readme-snippet-${process.pid}-${i}.mjs`
afterAll(() => {
  for (const i of snippets.keys()) rmSync(file(i), { force: true })
})

it('has snippets', () => expect(snippets.length).toBeGreaterThan(3))

it.each(snippets.map((code, i) => [i + 1, code] as const))('snippet %i runs', (number, code) => {
  writeFileSync(file(number - 1), code)
  const { status, stderr } = spawnSync(process.execPath, [file(number - 1)], { encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})
