/** Who meets whom in each case, which factor is asked for, and what a command installs that is missing. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Contender, Unavailable } from './contender.js'
import { type CaseName, type PeerCase, type Setup, setupName } from './peer-cases.js'
import type { PrismalLoad } from './prismal-contender.js'
import { scriptPath } from './scripts.js'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
export const SETUP_COMMAND = 'npm run bench:peers-setup'
/** The interpreter that runs PyTorch: what this variable names, or the one that the setup made. */
const PYTHON_VARIABLE = 'PRISMAL_BENCH_PYTHON'
export const pythonPath = (): string => process.env[PYTHON_VARIABLE] ?? here('.cache/venv/bin/python')

/** One of ours against another contender: at least so many times as fast. */
export interface Duel {
  readonly ours: Setup
  readonly than: Setup
  readonly least?: number
}

const of =
  (engine: Setup['engine']) =>
  (threads: number, dtype: Setup['dtype'] = 'f32'): Setup => ({ engine, threads, dtype })
const [prismal, web, node, pytorch] = [of('prismal'), of('onnxruntime-web'), of('onnxruntime-node'), of('pytorch')]

/** A least factor that the project has set itself, by case; cases that are not named have none. */
type Bars = Partial<Record<CaseName, number>>
const LARGE: Bars = { 'vit-b16': 1.6, 'bert-base-256': 1.6, 'gpt2-prefill-512': 1.6 }
const ONE_THREAD: Bars = { ...LARGE, 'minilm-16': 2, 'gpt2-decode-512': 2 }
const SCALING: Bars = { 'vit-b16': 1.85, 'bert-base-256': 1.85, 'gpt2-prefill-512': 1.85 }
const q8 = (least: number): Bars => ({ 'vit-b16': least, 'bert-base-128': least, 'bert-base-256': least })
const [Q8_F32, Q8_WEB, Q8_NODE] = [q8(2.8), q8(2.5), q8(1)]

/** Share of what bounds a case that ours must reach, by case: of the matrix products' rate, or of streaming. */
export const LEAST_SHARE: Bars = {
  ...{ 'vit-b16': 0.9, 'bert-base-256': 0.9, 'gpt2-prefill-512': 0.9 },
  ...{ 'minilm-16': 0.7, 'gpt2-decode-512': 0.75 },
}

/** The duels of a case, in groups that are in memory at the same time. */
export function duelsOf(name: CaseName): readonly (readonly Duel[])[] {
  const duel = (ours: Setup, than: Setup, bars: Bars = {}): Duel => {
    const least = bars[name]
    return { ours, than, ...(least !== undefined && { least }) }
  }
  const one = [
    duel(prismal(1), web(1), ONE_THREAD),
    duel(prismal(1), node(1)),
    duel(prismal(1), pytorch(1)),
    duel(prismal(1, 'q8'), prismal(1), Q8_F32),
    duel(prismal(1, 'q8'), web(1, 'q8'), Q8_WEB),
    duel(prismal(1, 'q8'), node(1), Q8_NODE),
  ]
  const two = [
    duel(prismal(2), web(2), LARGE),
    duel(prismal(2), prismal(1), SCALING),
    duel(prismal(2), node(2)),
    duel(prismal(2), pytorch(2)),
    duel(prismal(2, 'q8'), prismal(2)),
    duel(prismal(2, 'q8'), web(2, 'q8')),
  ]
  return [one, two]
}

/** Only the duels that a bar is set for. Of BERT, 256 rows stand for both lengths. */
export function barDuels(name: CaseName): readonly (readonly Duel[])[] {
  if (name === 'bert-base-128') return []
  return duelsOf(name)
    .map(group => group.filter(duel => duel.least !== undefined || isDecodedInQ8(name, duel)))
    .filter(group => group.length > 0)
}

/** Both precisions' decoding is held to a share of what streams, whoever else is faster. */
const isDecodedInQ8 = (name: CaseName, { ours, than }: Duel): boolean =>
  name === 'gpt2-decode-512' && ours.dtype === 'q8' && ours.threads === 1 && than.engine === 'prismal'

/** Everyone in these duels, ours first. */
export function setupsOf(duels: readonly Duel[]): Setup[] {
  const all = duels.flatMap(({ ours, than }) => [ours, than])
  const unique = [...new Map(all.map(setup => [setupName(setup), setup])).values()]
  return [...unique.filter(s => s.engine === 'prismal'), ...unique.filter(s => s.engine !== 'prismal')]
}

/** Starts the process of a contender, whose script is compiled. Throws {@link Unavailable} where it is not installed. */
export function contenderFor(setup: Setup): Contender {
  const name = setupName(setup)
  if (setup.engine === 'prismal') return ownContender(name)
  if (setup.engine === 'pytorch') {
    const python = pythonPath()
    if (!existsSync(python)) throw new Unavailable(`no ${PYTHON_VARIABLE}, and ${SETUP_COMMAND} was not run`)
    return new Contender(name, python, [here('peers/pytorch.py')], { TOKENIZERS_PARALLELISM: 'false' })
  }
  if (!existsSync(here(`peers/node_modules/${setup.engine}`))) throw new Unavailable(`${SETUP_COMMAND} was not run`)
  const place = setup.engine === 'onnxruntime-web' ? 'web' : 'node'
  return new Contender(name, process.execPath, [scriptPath('onnxruntime'), place])
}

const ownContender = (name: string): Contender =>
  new Contender(name, process.execPath, [scriptPath('prismal-contender')])

/** What bounds a case on this machine: the rate of a model's matrix products, or of reading memory. */
export function limitFor(subject: PeerCase, width: number): { contender: Contender; load: PrismalLoad; of: string } {
  if (subject.output === 'decode')
    return { contender: ownContender('streaming'), load: { kind: 'streaming' }, of: 'streaming' }
  const load = { kind: 'products', m: subject.rows, width, threads: 1 } as const
  return { contender: ownContender('matrix products'), load, of: 'gemm' }
}
