/** `prismal doctor`: what this machine and runtime can do, what is slow or missing, and what to do about it. */
import { availableParallelism, cpus, freemem, totalmem } from 'node:os'
import {
  type Capabilities,
  capabilities,
  createEngine,
  type Engine,
  type Lack,
  productRate,
  type RuntimeCapabilities,
  UnavailableError,
} from '@prismal/tensor'
import type { Command } from 'commander'
import { DEFAULT_MODELS, installedVersion } from '../locate.js'
import { versions } from '../versions.js'
import { bytes } from './units.js'

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what is fast here, what is not or is missing, and what to do about it')
    .option('--json', 'print one JSON object')
    .action(doctor)
}

/** An optional part of prismal and the packages that it takes. */
const OPTIONAL = {
  'web-rtc': ['node-datachannel'],
  nats: ['@nats-io/transport-node', '@nats-io/jetstream', '@nats-io/obj'],
} as const

interface Examined extends Capabilities {
  readonly gigaflops: number
  /** Whether products are added up in one rounding: with relaxed SIMD that is up to the runtime and the processor. */
  readonly fused: boolean
}

interface Examination {
  readonly versions: Record<string, string>
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    /** 0 where permissions forbid to look. */
    readonly memoryBytes: number
    readonly freeBytes: number
  }
  readonly runtime: RuntimeCapabilities
  /** What an engine runs on by default, and its f32 matrix product on one thread; or why there is none. */
  readonly engine: Examined | { readonly failed: string }
  /** Models that tasks run by default: versions, null where not installed. */
  readonly models: Readonly<Record<string, string | null>>
  /** Transports: the packages that they lack. */
  readonly transports: Readonly<Record<string, readonly string[]>>
}

async function doctor(flags: { json?: true }): Promise<void> {
  const examination = await examine()
  console.log(flags.json ? JSON.stringify(examination) : shown(examination))
}

async function examine(): Promise<Examination> {
  return {
    versions: versions(),
    machine: {
      ...{ cpu: allowed(() => cpus()[0]?.model.trim()) ?? 'unknown processor', cores: availableParallelism() },
      ...{ memoryBytes: allowed(totalmem) ?? 0, freeBytes: allowed(freemem) ?? 0 },
    },
    runtime: capabilities(),
    engine: await engineHere(),
    models: Object.fromEntries(DEFAULT_MODELS.map(name => [name, installedVersion(name) ?? null])),
    transports: {
      'web-socket': [],
      ...Object.fromEntries(
        Object.entries(OPTIONAL).map(([name, packages]) => [name, packages.filter(p => !installedVersion(p))]),
      ),
    },
  }
}

/** What a process may be told; undefined where its permissions (Deno's `--allow-sys`) forbid it. */
function allowed<T>(ask: () => T): T | undefined {
  try {
    return ask()
  } catch {
    return undefined
  }
}

async function engineHere(): Promise<Examination['engine']> {
  try {
    const engine = await createEngine()
    try {
      return { ...engine.capabilities(), gigaflops: productRate(engine), fused: fuses(engine) }
    } finally {
      engine.dispose()
    }
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error
    return { failed: error.message }
  }
}

/** Whether an f32 product is added without being rounded: −(1 + 2ε) + (1 + ε)² is ε² then, and 0 otherwise. */
function fuses(engine: Engine): boolean {
  const epsilon = 2 ** -12
  const [a, b] = [engine.tensor([-1, 1 + epsilon], [1, 2]), engine.tensor([1 + 2 * epsilon, 1 + epsilon], [2, 1])]
  return engine.build === 'relaxed-simd' && engine.matmul(a, b).floats()[0] !== 0
}

function shown({ versions: v, machine, runtime, engine, models, transports }: Examination): string {
  const { webassembly, simd, threads } = runtime
  const isFused = 'fused' in engine && engine.fused
  const simds = { relaxed: `relaxed: products are ${isFused ? '' : 'not '}fused here`, plain: 'plain', none: 'none' }
  const rows = [
    [
      'machine',
      `${machine.cpu}, ${counted(machine.cores, 'core')}${machine.memoryBytes ? `, ${bytes(machine.freeBytes)} of ${bytes(machine.memoryBytes)} free` : ''}`,
    ],
    ['runtime', `${runtime.runtime}, prismal ${v.prismal}`],
    ['webassembly', webassembly === 'yes' ? `yes, ${bytes(runtime.memoryBytes)} an engine` : webassembly],
    ['SIMD', simds[simd]],
    [
      'product',
      'failed' in engine ? 'no engine' : `${Math.round(engine.gigaflops)} GF/s on one thread (f32, ${engine.build})`,
    ],
    ['threads', threads === 1 ? 'one' : `one unless asked for, up to ${threads}: --threads auto`],
    [
      'models',
      Object.entries(models)
        .map(([name, version]) => (version ? `${name} ${version}` : `${name}: not installed`))
        .join(', '),
    ],
    [
      'transports',
      Object.entries(transports)
        .map(([name, missing]) => (missing.length === 0 ? name : `${name}: not installed`))
        .join(', '),
    ],
  ]
  const todo: (readonly [what: string, advice: string])[] = [
    ...('failed' in engine ? [[engine.failed, 'install @prismal/tensor anew, with its .wasm files'] as const] : []),
    ...runtime.lacks.map(({ what, advice }: Lack) => [what, advice] as const),
    ...Object.entries(models).flatMap(([name, version]) =>
      version ? [] : [[`${name} is not installed`, `npm install ${name}`] as const],
    ),
    ...Object.entries(transports).flatMap(([name, missing]) =>
      missing.length > 0 ? [[`${name} takes more packages`, `npm install ${missing.join(' ')}`] as const] : [],
    ),
  ]
  const advice =
    todo.length > 0 ? todo.map(([what, advice]) => `→ ${what}\n  ${advice}`).join('\n') : 'Nothing is missing.'
  return `${rows.map(([name, value]) => `${(name as string).padEnd(13)}${value}`).join('\n')}\n\n${advice}`
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
