/** What a runtime can do for an engine, and what to do about what it lacks. */
import { detectWasm } from './backends/wasm.js'
import { MAX_MEMORY_BYTES, PAGE_BYTES } from './memory.js'
import { isWorkerd, runtimeName } from './runtime.js'
import { availableCores, availableThreads, haveWorkers, lackOfThreads } from './threads/available.js'

/** Something that is slower here, or does not work, and what to do about it. */
export interface Lack {
  readonly about: 'webassembly' | 'simd' | 'threads' | 'workers' | 'memory'
  /** What is missing, and what follows. */
  readonly what: string
  readonly advice: string
}

export interface RuntimeCapabilities {
  /** Name and version, as far as the runtime tells. */
  readonly runtime: string
  /** `compiled`: only modules that the runtime itself compiled, as imported ones are; bytes are refused. */
  readonly webassembly: 'yes' | 'compiled' | 'no'
  readonly simd: 'relaxed' | 'plain' | 'none'
  /** Most threads that one engine can have. It has one unless more are asked for. */
  readonly threads: number
  /** Undefined where the runtime does not tell. */
  readonly cores: number | undefined
  /** Whether a pipeline or a device can have a thread of its own. */
  readonly workers: boolean
  /** Most bytes that one engine can address, as far as can be told without taking them. */
  readonly memoryBytes: number
  readonly lacks: readonly Lack[]
}

/**
 * Looks at this runtime; nothing is loaded, started or taken: that a page's policy forbids workers, an engine's and a
 * pipeline's own `capabilities()` tell, with what they use.
 */
export function capabilities(): RuntimeCapabilities {
  const { webassembly: has, simd, relaxedSimd } = detectWasm()
  const runtime = runtimeName()
  const webassembly = !has ? 'no' : compiles() ? 'yes' : 'compiled'
  const cores = availableCores()
  const memoryBytes = has ? addressable() : MAX_MEMORY_BYTES
  const lacks: Lack[] = []
  const lack = (about: Lack['about'], what: string, advice: string): void => void lacks.push({ about, what, advice })
  if (webassembly === 'no')
    lack(
      'webassembly',
      'there is no WebAssembly: the reference backend computes, some hundred times as slow',
      'use another runtime, or allow WebAssembly in this one',
    )
  // In workerd the kernels come along as modules.
  if (webassembly === 'compiled' && !isWorkerd())
    lack(
      'webassembly',
      'WebAssembly may not be compiled from bytes here',
      "allow it in the page's content security policy (script-src 'wasm-unsafe-eval'), or give createEngine a module",
    )
  if (has && !simd)
    lack(
      'simd',
      'WebAssembly has no SIMD: the reference backend computes, some hundred times as slow',
      'take a newer runtime (Node 16, Chromium 91, Firefox 89, Safari 16.4), or a processor with SSE 4.1',
    )
  if (simd && !relaxedSimd) lack('simd', 'there is no relaxed SIMD: products are not fused, and q8 is slower', UPDATE)
  const isForbidden = globalThis.process?.permission?.has('worker') === false
  const noThreads = isForbidden ? FORBIDDEN : lackOfThreads()
  // Without SIMD the reference backend computes, which has none: that is said above.
  if (simd && noThreads !== undefined)
    lack('threads', `an engine computes on one thread: ${noThreads}`, isForbidden ? ALLOW : adviceOnThreads())
  else if (simd && cores === 1) lack('threads', 'an engine computes on one thread: there is one core', 'nothing, here')
  if (!haveWorkers())
    lack(
      'workers',
      'there are no workers: devices and pipelines share this thread',
      'share with other processes instead',
    )
  else if (isForbidden) lack('workers', `${FORBIDDEN}: devices and pipelines share this thread`, ALLOW)
  else if (globalThis.origin === 'null')
    lack(
      'workers',
      'this frame may start no workers but given scripts',
      'allow-same-origin in its sandbox, or workerScript',
    )
  if (memoryBytes < MAX_MEMORY_BYTES)
    lack(
      'memory',
      `an engine can address ${memoryBytes} bytes: the runtime reserves no more`,
      'raise the limit of address space (ulimit -v), or store weights in fewer bits: dtype q8',
    )
  const threads = simd && !isForbidden ? availableThreads() : 1
  const workers = haveWorkers() && !isForbidden
  const grade = relaxedSimd ? 'relaxed' : simd ? 'plain' : 'none'
  return { runtime, webassembly, simd: grade, threads, cores, workers, memoryBytes, lacks }
}

const FORBIDDEN = 'the permissions of this process forbid workers'
const ALLOW = 'start it with --allow-worker'
const UPDATE = 'take a newer one: Node has it from 22 on, Chromium from 114'

function adviceOnThreads(): string {
  const scope = globalThis as { crossOriginIsolated?: boolean; isSecureContext?: boolean }
  return scope.crossOriginIsolated === false
    ? `serve the page ${scope.isSecureContext === false ? 'by https, ' : ''}with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp`
    : 'share between devices, which need no shared memory'
}

/** Whether bytes may become a module: a page's policy or the runtime may refuse. */
function compiles(): boolean {
  try {
    // "\0asm", version 1: a module of nothing.
    return new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])) instanceof WebAssembly.Module
  } catch {
    return false
  }
}

/** How far a memory may grow that the runtime makes, in steps of two. */
function addressable(): number {
  for (let maximum = 65536; maximum >= 1; maximum /= 2)
    try {
      new WebAssembly.Memory({ initial: 1, maximum })
      return Math.min(maximum * PAGE_BYTES, MAX_MEMORY_BYTES)
    } catch {}
  return 0
}
