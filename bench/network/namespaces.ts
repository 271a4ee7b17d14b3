/**
 * Two hosts on one machine: network namespaces, joined by a pair of virtual interfaces, at a limited rate or not. Needs
 * Linux, root, `ip` and, for a rate, `tc`. Names carry this process's id: hosts whose process is gone are removed first.
 */
import { spawnSync } from 'node:child_process'
import { Unavailable } from '../contender.js'
import { atExit } from '../endings.js'

/** What the interface of a host has carried, both ways, from the first frame of Ethernet to the last. */
export interface Carried {
  readonly receivedBytes: number
  readonly sentBytes: number
}

export interface Host {
  /** Its IPv4 address. */
  readonly address: string
  /** The command that runs another in the host, e.g. `[...enter, 'node', 'script.js']`. */
  readonly enter: readonly string[]
  carried(): Carried
}

export interface TwoHosts {
  readonly hosts: readonly [Host, Host]
  /** Removes both. Whatever still runs there keeps running, without a network. */
  remove(): void
}

export interface LinkOptions {
  /** Each way, as the link carries it: headers of Ethernet, IP and TCP included. Default: as fast as the machine copies. */
  readonly megabitsPerSecond?: number
}

const PREFIX = 'prismal-bench-'
const INTERFACE = 'wire0'
/** A bucket of two packets: a larger one would let short messages pass at once, whatever the rate. */
const BURST_BYTES = 3 * 1024
/** How long a packet may queue before it is dropped, which TCP takes for congestion. */
const QUEUE_MS = 100
/** Large packets: the bytes counted are then nearly the payload's. */
const UNLIMITED_MTU = 65535

/** Makes them. Throws {@link Unavailable}, with the reason, where this machine or user cannot. */
export function twoHosts({ megabitsPerSecond }: LinkOptions = {}): TwoHosts {
  const reason = whyNoHosts()
  if (reason !== undefined) throw new Unavailable(reason)
  removeForsaken()
  const names = ['a', 'b'].map(end => `${PREFIX}${process.pid}-${end}`) as [string, string]
  let isThere = true
  const remove = (): void => {
    if (!isThere) return
    isThere = false
    forget()
    for (const name of names) spawnSync('ip', ['netns', 'delete', name])
  }
  const forget = atExit(remove)
  try {
    for (const name of names) ip('netns', 'add', name)
    ip(...['link', 'add', INTERFACE, 'netns', names[0], 'type', 'veth', 'peer', 'name', INTERFACE, 'netns', names[1]])
    const hosts = names.map((name, i) => makeHost(name, `10.213.40.${i + 1}`, megabitsPerSecond)) as [Host, Host]
    return { hosts, remove }
  } catch (error) {
    remove()
    throw error
  }
}

function makeHost(name: string, address: string, megabitsPerSecond: number | undefined): Host {
  const inside = (...args: string[]): string => ip('-n', name, ...args)
  if (megabitsPerSecond === undefined) inside('link', 'set', INTERFACE, 'mtu', String(UNLIMITED_MTU))
  else {
    const bucket = ['rate', `${megabitsPerSecond}mbit`, 'burst', String(BURST_BYTES), 'latency', `${QUEUE_MS}ms`]
    run('tc', ['-n', name, 'qdisc', 'add', 'dev', INTERFACE, 'root', 'tbf', ...bucket])
  }
  inside('address', 'add', `${address}/24`, 'dev', INTERFACE)
  inside('link', 'set', INTERFACE, 'addrgenmode', 'none') // IPv6 would announce itself, which is not the bench's traffic
  for (const device of ['lo', INTERFACE]) inside('link', 'set', device, 'up')
  return {
    address,
    enter: ['ip', 'netns', 'exec', name],
    carried() {
      const [{ stats64 }] = JSON.parse(inside('-s', '-j', 'link', 'show', INTERFACE)) as [
        { stats64: Record<'rx' | 'tx', { bytes: number }> },
      ]
      return { receivedBytes: stats64.rx.bytes, sentBytes: stats64.tx.bytes }
    },
  }
}

/** Names of the namespaces that a process made, or any. */
export function namespacesOf(pid?: number): string[] {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  const names = (stdout ?? '').split('\n').map(line => line.split(' ')[0] ?? '')
  return names.filter(name => name.startsWith(pid === undefined ? PREFIX : `${PREFIX}${pid}-`))
}

/** Those of a process that was killed outright. */
function removeForsaken(): void {
  for (const name of namespacesOf()) {
    const pid = Number(name.slice(PREFIX.length).split('-')[0])
    if (!isAlive(pid)) spawnSync('ip', ['netns', 'delete', name])
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Why there can be none on this machine, for this user; undefined where there can. */
export function whyNoHosts(): string | undefined {
  if (process.platform !== 'linux') return `network namespaces are Linux's; this is ${process.platform}`
  if (process.getuid?.() !== 0) return 'making network namespaces needs root'
  const missing = ['ip', 'tc'].find(command => spawnSync(command, ['-V']).error)
  if (missing) return `there is no \`${missing}\` (package iproute2)`
  // Root of a container may still not be allowed to.
  const trial = `${PREFIX}${process.pid}-trial`
  const { status, stderr } = spawnSync('ip', ['netns', 'add', trial], { encoding: 'utf8' })
  spawnSync('ip', ['netns', 'delete', trial])
  return status === 0 ? undefined : `\`ip netns add\`: ${stderr.trim()}`
}

const ip = (...args: string[]): string => run('ip', args)

function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Unavailable(`\`${command} ${args.join(' ')}\`: ${stderr.trim() || `status ${status}`}`)
  return stdout
}
