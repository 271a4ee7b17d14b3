/** `prismal devices`: who announces themselves at a NATS server. */
import { ANY_SERVER, type Announcement, type Change, Directory } from '@prismal/distribute/nats'
import type { Command } from 'commander'
import { atServer, type SessionFlags, untilEnded, withSession } from './nats-session.js'
import { atLeast } from './sharing.js'
import { bytes, table } from './units.js'

interface DevicesFlags extends SessionFlags {
  readonly json?: true
  readonly watch?: true
  readonly wait: number
}

export function addDevices(program: Command): void {
  const command = program.command('devices').description('list the devices that a NATS server knows of')
  withSession(command)
    .option('--wait <s>', 'seconds until all have answered', atLeast(0.001), 0.5)
    .option('--watch', 'then tell of those that come and go, until interrupted')
    .option('--json', 'print one JSON object; with --watch one for each line')
    .action(devices)
}

async function devices(flags: DevicesFlags): Promise<void> {
  const { json, watch, wait } = flags
  await atServer('devices', flags, async ({ nc, among }) => {
    let isListed = false
    const directory = new Directory(nc, { ...among, changed: change => isListed && tell(change, json) })
    try {
      const ended = untilEnded()
      directory.ask()
      await new Promise(resolve => {
        setTimeout(resolve, wait * 1000)
        ended.addEventListener('abort', resolve)
      })
      console.log(json ? JSON.stringify({ devices: directory.devices }) : listed(directory.devices, among.group))
      isListed = true
      if (watch && !ended.aborted) await new Promise(resolve => ended.addEventListener('abort', resolve))
    } finally {
      directory.close()
    }
  })
}

function listed(devices: readonly Announcement[], group = 'default'): string {
  if (devices.length === 0) return `no devices in group ${group}`
  const rows = devices.map(device => [
    device.name,
    device.models.map(m => `${m.name} ${m.dtype} (sha256 ${m.digest.slice(0, 8)}…)`).join(', ') || fetching(device),
    device.gigaflops === 0 ? '–' : `${Math.round(device.gigaflops)} GF/s`,
    device.build === '' ? '–' : `${device.build}, ${device.threads}`,
    device.memoryLimitBytes === undefined ? '–' : bytes(device.memoryLimitBytes),
    String(device.sessions),
    device.addresses.map(a => (a.startsWith(`${ANY_SERVER}/`) ? 'nats' : a)).join(' '),
  ])
  return table([['device', 'model', 'speed', 'build, threads', 'memory', 'clusters', 'addresses'], ...rows])
}

const fetching = (device: Announcement): string => (device.fetches ? 'what is asked for' : 'none')

function tell({ kind, device }: Change, json: true | undefined): void {
  const time = new Date().toISOString()
  if (json) console.log(JSON.stringify({ time, kind, device }))
  else console.log(`${time} ${device.name} ${kind}${kind === 'lost' ? ': its heartbeats stopped' : ''}`)
}
