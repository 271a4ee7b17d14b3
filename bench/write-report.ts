/** Writes bench/results: the findings of a run, report.md and its charts. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Chart, type Curves, chartsOf } from './chart-data.js'
import { markdownOf } from './markdown.js'
import { SETUP_COMMAND } from './peer-plan.js'
import type { Findings } from './report.js'

const RESULTS = fileURLToPath(new URL('results', import.meta.url))
const FINDINGS = join(RESULTS, 'findings.json')
/** Its library is installed with the peers, whose types are not those of this project. */
const DRAWER: string = './peers/charts.js'

/** The findings that were written last. Throws where there are none. */
export function lastFindings(): Findings {
  if (!existsSync(FINDINGS)) throw new Error('bench/results has no findings.json: `npm run bench -- report --measure`')
  return JSON.parse(readFileSync(FINDINGS, 'utf8')) as Findings
}

export async function writeReport(findings: Findings): Promise<string> {
  mkdirSync(RESULTS, { recursive: true })
  writeFileSync(FINDINGS, `${JSON.stringify(findings, null, 2)}\n`)
  const svgOf = await drawer()
  for (const file of readdirSync(RESULTS).filter(name => name.endsWith('.svg'))) rmSync(join(RESULTS, file))
  for (const chart of chartsOf(findings)) writeFileSync(join(RESULTS, `${chart.file}.svg`), svgOf(chart))
  writeFileSync(join(RESULTS, 'report.md'), markdownOf(findings))
  return RESULTS
}

export async function drawer(): Promise<(chart: Chart | Curves) => string> {
  if (!existsSync(fileURLToPath(new URL('peers/node_modules/echarts', import.meta.url))))
    throw new Error(`the charts' library is not installed: ${SETUP_COMMAND}`)
  const { svgOf } = (await import(DRAWER)) as { svgOf: (chart: Chart | Curves) => string }
  return svgOf
}
