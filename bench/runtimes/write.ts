/**
 * `npm run bench:runtimes [-- ROUNDS]`: how fast each runtime computes, and how soon it has a first answer, written to
 * results/runtimes.md. It measures what is built.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { tableOf } from '../markdown.js'
import { ratio, type Summary, summary } from '../measure.js'
import { thisMachine } from '../report.js'
import { type ColdStartFindings, coldStarts, PEER_VERSION } from './cold-start.js'
import { runtimeSpeeds, type SpeedFindings } from './speed.js'

const RESULTS = fileURLToPath(new URL('../results/', import.meta.url))
/** What others are compared with. */
const STANDARD = 'Node 24'

const rounds = Number(process.argv[2] ?? 9)
const cold = await coldStarts(rounds)
const speeds = await runtimeSpeeds(rounds)
mkdirSync(RESULTS, { recursive: true })
writeFileSync(`${RESULTS}runtimes.md`, markdownOf(cold, speeds))
console.log(`${RESULTS}runtimes.md is written`)

function markdownOf(cold: ColdStartFindings, speeds: SpeedFindings): string {
  const { cpu, cores, date, platform } = thisMachine()
  return [
    '# Runtimes',
    `${cpu}, ${cores} cores, ${platform}, ${date}. Medians of ${rounds} turns that alternate. Made by \`npm run bench:runtimes\`.`,
    '## Speed',
    `Milliseconds a call, the fastest of a turn; one thread, f32. Beside them the speed relative to ${STANDARD}'s, turn by turn (and the spread of it). Bun's engine, JavaScriptCore, ` +
      'fuses no multiply-add, with relaxed SIMD either; Node 20 has no relaxed SIMD. Deno and workerd have V8 check the bounds of memory in code rather ' +
      'than by guard pages, which some processors hide and others do not (node --disable-wasm-trap-handler shows what it costs), and so compute by tiles of five rows, which ' +
      'load less. workerd is timed from outside.',
    speedTable(speeds),
    '## Cold start',
    'From the start of a process to its end with a first answer: vit-cifar10, a JPEG, all files in memory; milliseconds. ' +
      `transformers.js ${PEER_VERSION} runs the same weights in f32. *more* is what is added to the runtime's own start, turn by turn. In workerd: to the answer to the first request.`,
    coldTable(cold),
    tableOf(
      ['installed', 'MB', 'packages'],
      cold.installed.map(({ name, bytes, packages }) => [name, (bytes / 1e6).toFixed(1), String(packages)]),
    ),
    ...(cold.notes.length > 0 ? [cold.notes.map(note => `- ${note}`).join('\n')] : []),
  ]
    .join('\n\n')
    .concat('\n')
}

function speedTable(speeds: SpeedFindings): string {
  const standard = speeds.get(STANDARD)
  const rows = [...speeds].map(([name, turns]) => [
    name,
    ...(['gemm', 'vit'] as const).flatMap(what => {
      const own = turns.map(turn => turn[what])
      const than = standard?.map(turn => turn[what])
      return [summary(own).median.toFixed(2), than && name !== STANDARD ? times(ratio(than, own)) : '']
    }),
  ])
  return tableOf(['', 'matrix product 197×768×768', '', 'vit-cifar10, one image', ''], rows)
}

function times({ median, least, most }: Summary): string {
  return `${median.toFixed(2)}× (${least.toFixed(2)}…${most.toFixed(2)})`
}

function coldTable({ runtimes }: ColdStartFindings): string {
  const ms = (values: readonly number[]): string => `${Math.round(summary(values).median)}`
  const rows = [...runtimes].map(([runtime, of]) => {
    const empty = of.get('empty') as readonly number[]
    const cells = (['ours', 'theirs'] as const).flatMap(name => {
      const first = of.get(name)
      return first ? [ms(first), ms(first.map((t, i) => t - (empty[i] as number)))] : ['–', '–']
    })
    return [runtime, ms(empty), ...cells]
  })
  return tableOf(['', 'an empty script', 'prismal', 'more', 'transformers.js', 'more'], rows)
}
