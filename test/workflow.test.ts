/** The workflow on GitHub runs what every change must pass. */
import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { parse } from 'yaml'

interface Step {
  readonly run?: string
  readonly uses?: string
  readonly with?: Readonly<Record<string, unknown>>
  readonly 'working-directory'?: string
}

it('runs .ci/run in the oldest Node that is supported, with ../shared beside the repository', () => {
  const { jobs } = parse(readFileSync('.github/workflows/ci.yml', 'utf8'))
  const { steps, container } = jobs.checks as { steps: Step[]; container: string }
  const script = steps.find(step => step.run?.startsWith('bash '))
  const folders = steps.flatMap(step => (step.uses?.startsWith('actions/checkout') ? [step.with?.path] : []))
  expect(folders).toEqual([script?.['working-directory'], 'shared'])
  expect(existsSync(script?.run?.replace('bash ', '') ?? '')).toBe(true)
  const { engines } = JSON.parse(readFileSync('package.json', 'utf8')) as { engines: { node: string } }
  expect(engines.node).toMatch(new RegExp(`^\\^${/^node:(\d+)/.exec(container)?.[1]}\\.`))
})
