/** `prismal worker`: a device that others join. */
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { type DeviceInfo, HandshakeError, isLoopback, shownAddress } from '@prismal/distribute'
import { type Host, type HostOptions, host } from '@prismal/distribute/host'
import type { Announcing } from '@prismal/distribute/nats'
import { ModelError } from '@prismal/models'
import type { Command } from 'commander'
import { locateNamed } from '../locate.js'
import { readSecretFile } from '../secret-file.js'
import { version } from '../versions.js'
import { type BackendFlag, type EngineFlags, withBackend, withDtype, withThreads } from './engine-flags.js'
import { log, untilEnded } from './nats-session.js'
import { quantity } from './quantity.js'
import { type IceFlag, iceOptions, type NatsFlags, whole, withIceServer, withNats } from './sharing.js'
import { bytes } from './units.js'

interface WorkerFlags extends EngineFlags, BackendFlag, NatsFlags, IceFlag {
  readonly model?: string
  readonly listen?: readonly string[]
  readonly secretFile?: string
  readonly name?: string
  readonly memoryLimit?: number
  readonly allowOrigin?: readonly string[]
  readonly allowHost?: readonly string[]
  readonly maxConnections?: number
  readonly cert?: string
  readonly key?: string
}

const byteCount = (text: string): number => Math.floor(quantity(/^B?$/i, '2GB', 1)(text))

export function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description('hold a model for others, who share their inferences with this device')
    .option(
      '--model <location>',
      'a model folder, URL or installed package; without it, with --nats: what is asked for',
    )
    .option(
      '--listen <address...>',
      'where to be joined; port 0 is any free one (default: ws://127.0.0.1:7040, or with --nats nowhere but there)',
    )
    .option('--secret-file <file>', 'the secret that devices share (prismal secret makes one); needed off this machine')
    .option('--name <name>', 'in messages (default: the address)')
  withThreads(withDtype(withBackend(command)))
  withNats(command, 'announce this device at a NATS server, and be joined through it')
    .option('--memory-limit <bytes>', 'most that weights and requests may use together, e.g. 2GB', byteCount)
    .option('--allow-origin <origin...>', 'pages that may connect, e.g. https://example.com (default: none)')
    .option('--allow-host <name...>', 'further names that this machine may be called by')
    .option('--max-connections <n>', 'at once (default: 256)', whole(1))
  withIceServer(command)
    .option('--cert <file>', 'certificate for wss, PEM')
    .option('--key <file>', 'its key, PEM')
    .action(worker)
}

async function worker(flags: WorkerFlags): Promise<void> {
  const stop = untilEnded()
  const stopped = new Promise<string>(resolve =>
    stop.addEventListener('abort', () => resolve(`it was ${(stop.reason as Error).message}`)),
  )
  const options = await hostOptions(flags)
  const { nats } = flags
  const announced = nats === undefined ? undefined : await announcedHost(nats, flags, options)
  const started = announced ?? (await host(options))
  console.log(
    `listening on ${[started.addresses.map(shownAddress).join(', '), ...describe(started.device)].join(' · ')}`,
  )
  const reason = await Promise.race([started.ended, stopped])
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

async function hostOptions(flags: WorkerFlags): Promise<HostOptions> {
  const { nats, name, backend, dtype, threads, memoryLimit, secretFile, cert, key } = flags
  if ((cert === undefined) !== (key === undefined)) throw new HandshakeError('--cert and --key go together')
  if (flags.model === undefined && nats === undefined)
    throw new ModelError(
      'a worker holds a model: name one with --model FOLDER, or with --nats URL those that are asked for',
    )
  const secret = secretFile === undefined ? undefined : await readSecretFile(secretFile)
  return {
    ...{ backend, listen: flags.listen ?? (nats === undefined ? ['ws://127.0.0.1:7040'] : []) },
    ...(flags.model !== undefined && { model: locateNamed(flags.model) }),
    ...(secret && { secret }),
    ...(name !== undefined && { name }),
    ...(dtype && { dtype }),
    ...(threads !== undefined && { threads }),
    ...(memoryLimit !== undefined && { memoryLimitBytes: memoryLimit }),
    ...(flags.allowOrigin && { allowedOrigins: flags.allowOrigin }),
    ...(flags.allowHost && { allowedHosts: flags.allowHost }),
    ...iceOptions(flags),
    ...(flags.maxConnections !== undefined && { maxConnections: flags.maxConnections }),
    ...(cert !== undefined &&
      key !== undefined && { certificate: { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') } }),
    log,
  }
}

/** A host that is joined through a server too, and announced there. */
async function announcedHost(url: string, { group }: WorkerFlags, options: HostOptions): Promise<Host> {
  const { announceHost, connectNats, modelFromStore, ownAddress } = await import('../nats.js')
  const nc = await connectNats(url, { name: options.name ?? 'prismal worker' })
  try {
    let announcing: Announcing | undefined
    const fetches = options.model === undefined
    const { name = hostname() } = options
    const started = await host({
      ...{ ...options, name, listen: [...options.listen, ownAddress(group)], natsServer: url },
      ...(fetches && {
        fetch: digest => modelFromStore(nc, digest, { ...(options.secret && { secret: options.secret }) }),
      }),
      changed: () => announcing?.tell(),
    })
    // Others are told of addresses that they can dial.
    const addresses = started.addresses.filter(a => isLoopback(url) || a.startsWith('nats:') || !isLoopback(a))
    announcing = announceHost(nc, Object.create(started, { addresses: { value: addresses } }), {
      ...{ log, name, fetches, version: version() },
      ...(group !== undefined && { group }),
      ...(options.secret && { secret: options.secret }),
    })
    const { close } = started
    return Object.create(started, {
      close: {
        async value(reason?: string): Promise<void> {
          await announcing?.stop()
          await close(reason)
          await nc.close()
        },
      },
    }) as Host
  } catch (error) {
    await nc.close()
    throw error
  }
}
