/**
 * What loading costs: memory beside the weights and bytes a second, of models in the shapes that people use. Each model is
 * loaded in a process of its own, from files that the system holds in memory.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { loadModel } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine } from '@prismal/tensor'
import { type RandomDtype, type RandomModel, writeRandomModel } from './random-model.js'

/** What one process measured, loading a model once. */
interface Load {
  readonly milliseconds: number
  /** Of all threads, while loading. */
  readonly cpuMilliseconds: number
  readonly fileBytes: number
  /** As they lie in the engine. */
  readonly weightBytes: number
  /** The largest use of the engine's memory, less the weights. */
  readonly arenaOverBytes: number
  /** The process's largest resident memory, less that before loading and the weights. */
  readonly residentOverBytes: number
}

const CASES: readonly (readonly [RandomModel, RandomDtype])[] = [
  ['vit-base', 'F32'],
  ['vit-base', 'F16'],
  ['gpt2', 'F32'],
]
const LOADS = 7
/** Most memory that loading may take beside the weights, and the least bytes a second of an f32 file. */
const BARS = { residentOverBytes: 64e6, megabytesPerSecond: 500 }

/** Kilobytes that Linux states under a name, as bytes; elsewhere Node's own figures, of which the peak is all it has. */
function resident(name: 'VmRSS' | 'VmHWM'): number {
  if (process.platform !== 'linux')
    return name === 'VmRSS' ? process.memoryUsage().rss : process.resourceUsage().maxRSS * 1024
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
}

async function measureHere(folder: string): Promise<Load> {
  const engine = await createEngine()
  const files = await openFiles(folder)
  const fileBytes = (await files.size('model.safetensors')) as number
  const before = resident('VmRSS')
  const cpu = process.cpuUsage()
  const started = performance.now()
  await loadModel(files, { engine })
  const milliseconds = performance.now() - started
  const { user, system } = process.cpuUsage(cpu)
  const { usedBytes, peakBytes } = engine.arena
  return {
    milliseconds,
    cpuMilliseconds: (user + system) / 1000,
    fileBytes,
    weightBytes: usedBytes,
    arenaOverBytes: peakBytes - usedBytes,
    residentOverBytes: resident('VmHWM') - before - usedBytes,
  }
}

async function benchLoading(): Promise<boolean> {
  const root = mkdtempSync(join(tmpdir(), 'prismal-memory-'))
  const self = fileURLToPath(import.meta.url)
  const run = promisify(execFile)
  const median = (values: readonly number[]): number =>
    [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number
  let isFine = true
  try {
    for (const [model, dtype] of CASES) {
      const folder = join(root, `${model}-${dtype}`)
      writeRandomModel(folder, model, dtype, 1)
      const loads: Load[] = []
      for (let i = 0; i < LOADS; i++) {
        const { stdout } = await run(process.execPath, [...process.execArgv, self, folder])
        loads.push(JSON.parse(stdout) as Load)
      }
      const speeds = loads.map(l => l.fileBytes / 1e3 / l.milliseconds)
      const over = Math.max(...loads.map(l => l.residentOverBytes))
      const [best, usual] = [Math.max(...speeds), median(speeds)]
      const { fileBytes, weightBytes, arenaOverBytes } = loads[0] as Load
      const cpu = median(loads.map(l => l.fileBytes / 1e3 / l.cpuMilliseconds))
      const isFast = dtype !== 'F32' || best >= BARS.megabytesPerSecond
      isFine &&= isFast && over <= BARS.residentOverBytes
      const MB = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
      console.log(
        `${`${model} ${dtype}`.padEnd(13)} file ${MB(fileBytes)}, weights ${MB(weightBytes)}: ` +
          `${best.toFixed(0)} MB/s at best, ${usual.toFixed(0)} in the median of ${LOADS} (${cpu.toFixed(0)} MB a second of ` +
          `processor time); beside the weights ${MB(over)} at most, ${MB(arenaOverBytes)} of it in the engine`,
      )
      rmSync(folder, { recursive: true })
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
  return isFine
}

const [folder] = process.argv.slice(2)
if (folder) console.log(JSON.stringify(await measureHere(folder)))
else {
  console.log(`least ${BARS.megabytesPerSecond} MB/s of an f32 file; at most 64 MB beside the weights`)
  if (!(await benchLoading())) process.exitCode = 1
}
