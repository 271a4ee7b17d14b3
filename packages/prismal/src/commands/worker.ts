/** `prismal worker`: a device that others join. */
import { readFile } from 'node:fs/promises'
import { type DeviceInfo, HandshakeError } from '@prismal/distribute'
import { type Host, host } from '@prismal/distribute/host'
import type { Build } from '@prismal/tensor'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { locateNamed } from '../locate.js'
import { readSecretFile } from '../secret-file.js'
import { type EngineFlags, withDtype, withThreads } from './engine-flags.js'
import { whole } from './sharing.js'
import { bytes } from './units.js'

interface WorkerFlags extends EngineFlags {
  readonly model: string
  readonly listen: readonly string[]
  readonly secretFile?: string
  readonly name?: string
  readonly backend: 'auto' | Build
  readonly memoryLimit?: number
  readonly allowOrigin?: readonly string[]
  readonly allowHost?: readonly string[]
  readonly maxConnections?: number
  readonly cert?: string
  readonly key?: string
}

const BYTES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 }
/** Parses `2GB` or `300MB`. */
function size(text: string): number {
  const [, digits = '', prefix = ''] = /^([\d.]+)\s*([kMG]?)B?$/i.exec(text) ?? []
  const value = Math.floor(Number(digits) * (BYTES[prefix.toLowerCase()] as number))
  if (digits === '' || !(value > 0)) throw new InvalidArgumentError('It is like 2GB.')
  return value
}

export function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description('hold a model for others, who share their inferences with this device')
    .requiredOption('--model <location>', 'a model folder, URL or installed package')
    .option('--listen <address...>', 'where to be joined; port 0 is any free one', ['ws://127.0.0.1:7040'])
    .option('--secret-file <file>', 'the secret that devices share (prismal secret makes one); needed off this machine')
    .option('--name <name>', 'in messages (default: the address)')
    .addOption(
      new Option('--backend <build>', 'what computes')
        .choices(['auto', 'relaxed-simd', 'simd', 'reference'])
        .default('auto'),
    )
  withThreads(withDtype(command))
    .option('--memory-limit <bytes>', 'most that weights and requests may use together, e.g. 2GB', size)
    .option('--allow-origin <origin...>', 'pages that may connect, e.g. https://example.com (default: none)')
    .option('--allow-host <name...>', 'further names that this machine may be called by')
    .option('--max-connections <n>', 'at once (default: 256)', whole(1))
    .option('--cert <file>', 'certificate for wss, PEM')
    .option('--key <file>', 'its key, PEM')
    .action(worker)
}

async function worker(flags: WorkerFlags): Promise<void> {
  const stop = stopSignal()
  const started = await start(flags)
  console.log(`listening on ${[started.addresses.join(', '), ...describe(started.device)].join(' · ')}`)
  const reason = await Promise.race([started.ended, stop])
  await started.close(reason)
  if (reason.startsWith('the engine')) throw new Error(reason)
}

/** `vit-cifar10 (sha256 4f1c…) · 47 GF/s · f32 · relaxed-simd, 4 threads`, in parts. */
function describe(device: DeviceInfo | undefined): string[] {
  if (!device) return ['no model yet']
  const { model, digest, gigaflops, precision, build, threads, memoryLimitBytes } = device
  return [
    `${model} (sha256 ${digest.slice(0, 8)}…)`,
    ...(gigaflops === undefined ? [] : [`${Math.round(gigaflops)} GF/s`]),
    precision,
    `${build}, ${threads === 1 ? '1 thread' : `${threads} threads`}`,
    ...(memoryLimitBytes === undefined ? [] : [`at most ${bytes(memoryLimitBytes)}`]),
  ]
}

async function start(flags: WorkerFlags): Promise<Host> {
  const { listen, name, backend, dtype, threads, memoryLimit, secretFile, cert, key } = flags
  if ((cert === undefined) !== (key === undefined)) throw new HandshakeError('--cert and --key go together')
  const model = locateNamed(flags.model)
  const secret = secretFile === undefined ? undefined : await readSecretFile(secretFile)
  return host({
    ...{ model, listen, backend },
    ...(secret && { secret }),
    ...(name !== undefined && { name }),
    ...(dtype && { dtype }),
    ...(threads !== undefined && { threads }),
    ...(memoryLimit !== undefined && { memoryLimitBytes: memoryLimit }),
    ...(flags.allowOrigin && { allowedOrigins: flags.allowOrigin }),
    ...(flags.allowHost && { allowedHosts: flags.allowHost }),
    ...(flags.maxConnections !== undefined && { maxConnections: flags.maxConnections }),
    ...(cert !== undefined &&
      key !== undefined && { certificate: { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') } }),
    log: message => console.error(message),
  })
}

/** Resolves when the process is asked to end; a second time it ends at once. */
function stopSignal(): Promise<string> {
  return new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => resolve(`it was ended by ${signal}`))
  })
}
