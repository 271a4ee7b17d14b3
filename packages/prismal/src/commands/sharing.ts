/** The options that say how devices share, as commands take them. */
import {
  type Cluster,
  cluster,
  type DeviceSpec,
  POINTS,
  type SharingOptions,
  STRATEGIES,
  WIRE_FORMATS,
} from '@prismal/distribute'
import { thread } from '@prismal/distribute/threads'
import { type Command, InvalidArgumentError, Option } from 'commander'

export interface SharingFlags {
  readonly devices?: number
  readonly segments?: number
  readonly compression?: number
  readonly sink?: number
  readonly strategy?: (typeof STRATEGIES)[number]
  readonly point?: (typeof POINTS)[number]
  readonly wire?: (typeof WIRE_FORMATS)[number]
  readonly weights?: readonly number[]
}

/** Parses a whole number of at least `least`. */
export const whole =
  (least: number) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It is a whole number ≥ ${least}.`)
    return value
  }
/** Parses a number of at least `least`. */
export const atLeast =
  (least: number) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value) || value < least)
      throw new InvalidArgumentError(`It is a number ≥ ${least}.`)
    return value
  }
const numbers = (text: string): number[] => text.split(',').map(atLeast(0))

/** Adds them to a command. */
export function withSharing(command: Command): Command {
  return command
    .option('--devices <P>', 'devices that share the work', whole(1))
    .option('--segments <L>', 'segment means that each device sends of its rows', whole(1))
    .option('--compression <CR>', 'rows that a mean stands for, instead of --segments (default: 10)', atLeast(1))
    .option('--sink <K>', 'leading rows that are sent exactly (default: 1)', whole(0))
    .addOption(new Option('--strategy <name>', 'how devices share (default: means)').choices(STRATEGIES))
    .addOption(new Option('--point <name>', 'where means are taken (default: normed; full: input)').choices(POINTS))
    .addOption(new Option('--wire <format>', 'how rows travel (default: f32)').choices(WIRE_FORMATS))
    .option('--weights <list>', 'shares of the rows, e.g. 1,2 (default: even)', numbers)
}

export function sharingOptions(flags: SharingFlags): SharingOptions {
  const { segments, compression, sink, strategy, point, wire, weights } = flags
  return {
    ...(segments !== undefined && { segments }),
    ...(compression !== undefined && { compressionRate: compression }),
    ...(sink !== undefined && { sink }),
    ...(strategy && { strategy }),
    ...(point && { point }),
    ...(wire && { wire }),
    ...(weights && { weights }),
  }
}

/** This device and P − 1 worker threads; none for one device and no strategy asked for. */
export function clusterOf(flags: SharingFlags): Cluster | undefined {
  const { devices = flags.weights?.length ?? 1 } = flags
  const options = sharingOptions(flags)
  if (devices === 1 && Object.keys(options).length === 0) return undefined
  const others = Array.from({ length: devices - 1 }, (_, i) => thread({ name: `thread ${i + 1}` }))
  const specs: DeviceSpec[] = ['local', ...others]
  return cluster(specs, options)
}
