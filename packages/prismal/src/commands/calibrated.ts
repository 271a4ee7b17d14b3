/** `--sharing` and `--budget`: how devices share, chosen by calibration or by bytes. */
import { type Cluster, PlanError, type SharingOptions } from '@prismal/distribute'
import { type Command, InvalidArgumentError } from 'commander'
import { budgeted } from '../calibrate/budget.js'
import { describeSharing } from '../calibrate/describe.js'
import { type Candidate, type Requests, within } from '../calibrate/ladder.js'
import { readSharingFile } from '../calibrate/sharing-file.js'
import { clusterOf, type DeviceFlags, sharingOptions } from './sharing.js'
import { bytes as shown } from './units.js'

export interface CalibratedFlags {
  readonly sharing?: string
  readonly budget?: number
}

const FACTORS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 }

/** Parses `50kB`, `1.5MB`, `4096`. */
export function byteCount(text: string): number {
  const [, digits = '', prefix = ''] = /^(\d+(?:\.\d+)?)\s*([kMG]?)B?$/i.exec(text.trim()) ?? []
  const value = Number(digits) * (FACTORS[prefix.toLowerCase()] as number)
  if (digits === '' || !(value >= 1)) throw new InvalidArgumentError('It is like 50kB.')
  return value
}

/** Parses `0.5%` or `0.5`. */
export function percentage(text: string): number {
  const [, digits = ''] = /^(\d+(?:\.\d+)?)\s*%?$/.exec(text.trim()) ?? []
  const value = Number(digits)
  if (digits === '' || !(value > 0 && value < 100)) throw new InvalidArgumentError('It is like 0.5%.')
  return value
}

/** Adds them to a command. */
export function withCalibrated(command: Command): Command {
  return command
    .option('--sharing <file>', 'share as prismal calibrate --out has written')
    .option('--budget <bytes>', 'share so that a device receives no more for an input, e.g. 50kB', byteCount)
}

const warn = (message: string): void => console.error(message)

/** The devices of {@link clusterOf}, sharing by a file or within a budget where that was asked for. */
export async function calibratedCluster(flags: DeviceFlags & CalibratedFlags): Promise<Cluster | undefined> {
  const { sharing: path, budget } = flags
  if (path !== undefined) {
    expectNoBudget(flags)
    const file = readSharingFile(path)
    const devices = flags.devices ?? flags.device?.length ?? file.devices
    expectDevices(path, file.devices, devices)
    const cluster = (await clusterOf({ ...flags, devices })) as Cluster
    return withSharing(cluster, file.sharing, ({ digest }) => {
      if (digest !== file.model.digest) warn(`warning: ${path} was chosen for another model, ${file.model.location}`)
    })
  }
  const cluster = await clusterOf(flags)
  if (budget === undefined) return cluster
  expectFree(flags)
  if (!cluster) throw new PlanError('plan: --budget is for 2 devices or more: name them with --devices or --device')
  return budgeted(cluster, budget, { onChoice: ({ sharing, mostBytes }) => warn(chosenText(sharing, mostBytes)) })
}

/** How a plan's devices share: as the flags say, or by a file or a budget for these requests. */
export function plannedSharing(
  flags: DeviceFlags & CalibratedFlags,
  requests: Requests,
): { devices: number; sharing: SharingOptions } {
  const { sharing: path, budget } = flags
  const { devices } = requests
  if (path !== undefined) {
    expectNoBudget(flags)
    const file = readSharingFile(path)
    expectDevices(path, file.devices, flags.devices ?? file.devices)
    return { devices: file.devices, sharing: { ...file.sharing, ...sharingOptions(flags) } }
  }
  if (budget === undefined || devices === 1) return { devices, sharing: sharingOptions(flags) }
  expectFree(flags)
  const [choice] = within(budget, requests) as [Candidate]
  warn(chosenText(choice.sharing, choice.mostBytes))
  return { devices, sharing: { ...choice.sharing, ...sharingOptions(flags) } }
}

/** What sharing is without inputs to try it on. */
const chosenText = (sharing: SharingOptions, most: number): string =>
  `budget: ${describeSharing(sharing)} (${shown(most)} a device); what it costs is not known: prismal calibrate tells`

function withSharing(cluster: Cluster, sharing: SharingOptions, onModel: (model: { digest: string }) => void): Cluster {
  // What was typed counts more than what was written.
  const options = { ...sharing, ...cluster.options }
  return {
    ...cluster,
    options,
    async runner(model, joining) {
      onModel(model)
      return (await cluster.runner(model, joining)).with(options)
    },
  }
}

function expectDevices(path: string, chosenFor: number, devices: number): void {
  if (devices !== chosenFor)
    throw new PlanError(`plan: ${path} was chosen for ${chosenFor} devices, not for ${devices}: calibrate for those`)
}

function expectNoBudget({ budget }: CalibratedFlags): void {
  if (budget !== undefined) throw new PlanError('plan: --sharing and --budget both say how devices share: give one')
}

/** A budget chooses all but who has how many rows. */
function expectFree(flags: DeviceFlags & CalibratedFlags): void {
  const { weights: _weights, padTo: _padTo, ...chosen } = sharingOptions(flags)
  const given = Object.keys(chosen)
  if (given.length > 0) throw new PlanError(`plan: --budget chooses ${given.join(', ')}: leave that out`)
}
