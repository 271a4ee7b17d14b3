/** The options that say how devices share, as commands take them. */
import { readFile } from 'node:fs/promises'
import {
  type Cluster,
  cluster,
  type DeviceSpec,
  PlanError,
  POINTS,
  type RemoteOptions,
  ROW_ORDERS,
  remote,
  SEGMENT_BOUNDS,
  type SegmentBounds,
  type SharingOptions,
  STRATEGIES,
  WIRE_FORMATS,
} from '@prismal/distribute'
import { thread } from '@prismal/distribute/threads'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { readSecretFile } from '../secret-file.js'

/** Options of sharing under their own names, but for the compression rate. */
export interface SharingFlags extends Omit<SharingOptions, 'compressionRate' | 'lost' | 'handoff'> {
  readonly devices?: number
  readonly compression?: number
}

export interface DeviceFlags extends SharingFlags, NatsFlags, IceFlag {
  readonly device?: readonly string[]
  readonly secretFile?: string
  readonly mixed?: true
  readonly ca?: string
  readonly connectTimeout?: number
}

export interface IceFlag {
  readonly iceServer?: readonly string[]
}

/** Where devices announce themselves. */
export interface NatsFlags {
  readonly nats?: string
  readonly group?: string
  readonly via?: 'nats'
}

/** Parses a number that `isOne` takes, which is described by `what`. */
const numberThat =
  (isOne: (value: number) => boolean, what: string) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value) || !isOne(value))
      throw new InvalidArgumentError(`It is a ${what}.`)
    return value
  }
/** Parses a whole number of at least `least`. */
export const whole = (least: number): ((text: string) => number) =>
  numberThat(value => Number.isSafeInteger(value) && value >= least, `whole number ≥ ${least}`)
/** Parses a number of at least `least`. */
export const atLeast = (least: number): ((text: string) => number) =>
  numberThat(value => value >= least, `number ≥ ${least}`)
/** Parses a number above `least`, and at most `most`. */
export const above = (least: number, most = Infinity): ((text: string) => number) =>
  numberThat(
    value => value > least && value <= most,
    `number above ${least}${most < Infinity ? ` and at most ${most}` : ''}`,
  )
const numbers = (text: string): number[] => text.split(',').map(atLeast(0))
/** Parses one value, or several with commas between them: one a layer. */
const oneOrEach =
  (one: (text: string) => number, each = one) =>
  (text: string): number | number[] =>
    text.includes(',') ? text.split(',').map(each) : one(text)

/** Parses a name, or a factor. */
function segmentBounds(text: string): SegmentBounds {
  const name = SEGMENT_BOUNDS.find(known => known === text)
  if (!name && !(Number(text) >= 1))
    throw new InvalidArgumentError(`It is ${SEGMENT_BOUNDS.join(', ')} or a number ≥ 1.`)
  return name ?? Number(text)
}

/** Parses a number of rows, or a share of them. */
function haloRows(text: string): number {
  const value = atLeast(0)(text)
  if (value >= 1 && !Number.isSafeInteger(value))
    throw new InvalidArgumentError('It is a whole number ≥ 0, or a share below 1.')
  return value
}

/** Adds them to a command. */
export function withSharing(command: Command): Command {
  return command
    .option('--devices <P>', 'devices that share the work', whole(1))
    .option(
      '--segments <L>',
      'segment means that each device sends of its rows; or a list, one a layer: 12,12,6,0',
      oneOrEach(whole(1), whole(0)),
    )
    .option('--rows <R>', 'rows that each device sends in all, exact ones among them, instead of --segments', whole(1))
    .option('--compression <CR>', 'rows that a mean stands for, instead of --segments (default: 2)', atLeast(1))
    .option(
      '--bounds <name>',
      'segments: uniform, graded (finest beside other devices’ rows), a factor such as 1.5, or alike (default)',
      segmentBounds,
    )
    .option('--sink <K>', 'leading rows that are sent exactly (default: 0 for causal models, else 1)', whole(0))
    .option('--tail <K>', 'last rows that are sent exactly (default: 0)', whole(0))
    .option('--near <K>', 'rows beside those of another device that are sent exactly (default: 0)', whole(0))
    .option('--anchor <K>', 'leading rows that every device computes itself (default: 0)', whole(0))
    .option(
      '--halo <K>',
      'causal models: rows before its own that each device computes itself; below 1 a share of its rows (default: 0.0625 unless --bounds says otherwise)',
      haloRows,
    )
    .option('--gain <A>', 'a mean of c rows weighs c^A; or a list, one a layer (default: 1)', oneOrEach(atLeast(0)))
    .addOption(
      new Option(
        '--order <name>',
        'how rows are dealt (default: what suits the model; raster for causal ones)',
      ).choices(ROW_ORDERS),
    )
    .option(
      '--turn <K>',
      'rows that a device gets at a time, with an order that deals in turn (default: 8 of texts, else 1)',
      whole(1),
    )
    .option('--pad-to <N>', 'deal rows as though each sequence had at least N (default: 0)', whole(0))
    .addOption(new Option('--strategy <name>', 'how devices share (default: means)').choices(STRATEGIES))
    .addOption(new Option('--point <name>', 'where means are taken (default: normed; full: input)').choices(POINTS))
    .addOption(
      new Option('--wire <format>', 'how rows travel (default: int4 for means, else f32)').choices(WIRE_FORMATS),
    )
    .option('--weights <list>', 'shares of the rows, e.g. 1,2 (default: even)', numbers)
}

export function sharingOptions(flags: SharingFlags): SharingOptions {
  const { segments, rows, compression, bounds, sink, tail, near, anchor, halo, gain, order, turn, padTo } = flags
  const { strategy, point, wire, weights } = flags
  return {
    ...(segments !== undefined && { segments }),
    ...(rows !== undefined && { rows }),
    ...(compression !== undefined && { compressionRate: compression }),
    ...(bounds && { bounds }),
    ...(sink !== undefined && { sink }),
    ...(tail !== undefined && { tail }),
    ...(near !== undefined && { near }),
    ...(anchor !== undefined && { anchor }),
    ...(halo !== undefined && { halo }),
    ...(gain !== undefined && { gain }),
    ...(order && { order }),
    ...(turn !== undefined && { turn }),
    ...(padTo !== undefined && { padTo }),
    ...(strategy && { strategy }),
    ...(point && { point }),
    ...(wire && { wire }),
    ...(weights && { weights }),
  }
}

/** Whether this process may read a variable of its environment: Deno asks, or ends the command, where nobody allowed it. */
function mayRead(variable: string): boolean {
  const { Deno } = globalThis as { Deno?: { permissions: { querySync(what: object): { readonly state: string } } } }
  return !Deno || Deno.permissions.querySync({ name: 'env', variable }).state === 'granted'
}

/** Adds `--nats` and `--group`. */
export function withNats(command: Command, what: string): Command {
  const option = new Option('--nats <url>', `${what}, e.g. nats://127.0.0.1:4222`)
  return command
    .addOption(mayRead('PRISMAL_NATS') ? option.env('PRISMAL_NATS') : option)
    .option('--group <name>', 'devices and requests of other groups are not seen (default: default)')
}

/** Adds `--ice-server`. */
export function withIceServer(command: Command): Command {
  return command.option(
    '--ice-server <url...>',
    'for rtc addresses: servers that tell how this machine is seen, e.g. stun:stun.example:3478',
  )
}

export const iceOptions = ({ iceServer }: IceFlag) => ({
  ...(iceServer && { iceServers: iceServer.map(urls => ({ urls })) }),
})

/** Adds what says which devices share. */
export function withDevices(command: Command): Command {
  withNats(command, 'find (the rest of) --devices at this NATS server')
    .addOption(
      new Option(
        '--via <way>',
        'with --nats: all data through the server (default: to the devices themselves where they answer)',
      ).choices(['nats']),
    )
    .option(
      '--device <where...>',
      'the devices, in order: local, thread, or the address of a prismal worker (ws://192.0.2.7:7040)',
    )
    .option('--secret-file <file>', 'the secret that devices share; needed for addresses off this machine')
    .option('--ca <file>', 'certificates, PEM, that wss:// addresses are trusted by besides the usual ones')
    .option('--mixed', 'take devices whose results differ in the last bits (another build or runtime)')
    .option('--connect-timeout <s>', 'seconds until an address counts as not answering (default: 10)', atLeast(0.001))
  return withIceServer(command)
}

/**
 * The devices that were named; or this one and P − 1 worker threads; none for one device and no strategy asked for. Throws
 * `PlanError` where the flags contradict each other.
 */
export async function clusterOf(flags: DeviceFlags): Promise<Cluster | undefined> {
  const options = sharingOptions(flags)
  // An address in the environment finds devices only where some are asked for.
  if (flags.device || (flags.nats && flags.devices !== undefined))
    return cluster(await namedDevices(flags.device ?? [], flags), options)
  const { devices = flags.weights?.length ?? 1 } = flags
  if (devices === 1 && Object.keys(options).length === 0) return undefined
  const others = Array.from({ length: devices - 1 }, (_, i) => thread({ name: `thread ${i + 1}` }))
  const specs: DeviceSpec[] = ['local', ...others]
  return cluster(specs, options)
}

const warn = (message: string): void => console.error(`warning: ${message}`)

async function namedDevices(named: readonly string[], flags: DeviceFlags): Promise<DeviceSpec[]> {
  const { nats, group, via, secretFile, connectTimeout } = flags
  const { devices = named.length } = flags
  if (devices < named.length || (devices > named.length && !nats))
    throw new PlanError(`plan: --devices is ${devices}, but ${named.length} were named with --device`)
  if (named.filter(where => where === 'local').length > 1) throw new PlanError('plan: --device local was given twice')
  const secret = secretFile === undefined ? undefined : await readSecretFile(secretFile)
  const options: RemoteOptions = {
    ...(secret && { secret }),
    ...(flags.ca !== undefined && { authorities: await readFile(flags.ca, 'utf8') }),
    ...iceOptions(flags),
    ...(flags.mixed && { mixed: true }),
    ...(connectTimeout !== undefined && { timeoutMs: connectTimeout * 1000 }),
  }
  const specs = named.map((where, i): DeviceSpec => {
    if (where === 'local') return where
    return where === 'thread' ? thread({ name: `thread ${i}` }) : remote(where, options)
  })
  if (nats === undefined || specs.length === devices) return specs
  const { announcedDevices } = await import('../nats-devices.js')
  const among = { ...options, ...(group !== undefined && { group }), ...(via && { via }), log: warn }
  return [...specs, ...announcedDevices(nats, devices - specs.length, among)]
}
