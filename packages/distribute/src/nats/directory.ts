/** Who is there, as a coordinator sees it. Everything is asked anew: a restart misses nothing. */
import type { Msg, NatsConnection } from '@nats-io/nats-core'
import { randomId } from '../bytes-as-text.js'
import { DeviceError } from '../errors.js'
import { type Announcement, type GroupOptions, type Told, Town } from './announcement.js'

export interface DirectoryOptions extends GroupOptions {
  /** Told of each device that comes, changes or goes. */
  readonly changed?: (change: Change) => void
}

export interface Change {
  readonly kind: 'came' | 'changed' | 'left' | 'lost'
  readonly device: Announcement
}

interface Entry {
  readonly device: Announcement
  readonly timer: ReturnType<typeof setTimeout>
}

/** Devices that left and are remembered. */
const MOST_LEFT = 4096

/** The devices of a group, from now until `close()`. */
export class Directory {
  readonly #nc: NatsConnection
  readonly #town: Town
  readonly #changed: (change: Change) => void
  readonly #entries = new Map<string, Entry>()
  readonly #left = new Set<string>()
  readonly #stops: (() => void)[] = []
  #asking: string | undefined
  #hearing = Promise.resolve()

  constructor(nc: NatsConnection, options: DirectoryOptions = {}) {
    this.#nc = nc
    // A device whose clock is wrong is believed once it answers.
    this.#town = new Town(nc, options, () => this.ask())
    this.#changed = options.changed ?? (() => {})
    const { here } = this.#town.subjects
    const inbox = `_INBOX.${randomId()}`
    for (const [subject, isAnswer] of [
      [here, false],
      [inbox, true],
    ] as const) {
      const subscription = nc.subscribe(subject, {
        callback: (error, message) => {
          if (error) this.#town.log(`devices cannot be heard: ${error.message}`)
          // One after another: checking takes turns, and what came later must not overtake.
          else
            this.#hearing = this.#hearing
              .then(() => this.#heard(message, isAnswer))
              .catch((cause: Error) => this.#town.log(`the list's listener failed: ${cause.message}`))
        },
      })
      this.#stops.push(() => subscription.unsubscribe())
    }
    this.ask = () => {
      this.#asking = randomId()
      nc.publish(this.#town.subjects.who, this.#asking, { reply: inbox })
    }
  }

  /** Asks everyone; who answers is in the list. */
  readonly ask: () => void

  /** Those that are there: the least busy first, among those the fastest. */
  get devices(): Announcement[] {
    return [...this.#entries.values()].map(e => e.device).sort(byLoad)
  }

  close(): void {
    if (!this.#nc.isClosed()) for (const stop of this.#stops) stop()
    for (const { timer } of this.#entries.values()) clearTimeout(timer)
    this.#entries.clear()
  }

  async #heard(message: Msg, isAnswer: boolean): Promise<void> {
    // The server says that nobody is there to be asked.
    if (isAnswer && message.data.length === 0) return
    const told = await this.#town.believe(message, isAnswer ? this.#asking : undefined)
    if (!told || this.#left.has(told.device.id)) return
    if (told.kind === 'gone') this.#remove(told.device.id, 'left')
    else this.#add(told)
  }

  #add({ device, heartbeatMs }: Told): void {
    const before = this.#entries.get(device.id)
    clearTimeout(before?.timer)
    const timer = setTimeout(() => this.#remove(device.id, 'lost'), 3 * heartbeatMs)
    // The list alone keeps no process alive.
    ;(timer as { unref?: () => void }).unref?.()
    this.#entries.set(device.id, { device, timer })
    if (!before) this.#changed({ kind: 'came', device })
    else if (JSON.stringify(before.device) !== JSON.stringify(device)) this.#changed({ kind: 'changed', device })
  }

  #remove(id: string, kind: 'left' | 'lost'): void {
    // What it told before it left may still be on its way.
    if (kind === 'left' && this.#left.size < MOST_LEFT) this.#left.add(id)
    const entry = this.#entries.get(id)
    if (!entry) return
    clearTimeout(entry.timer)
    this.#entries.delete(id)
    this.#changed({ kind, device: entry.device })
  }
}

const byLoad = (a: Announcement, b: Announcement): number =>
  a.sessions - b.sessions || b.gigaflops - a.gigaflops || (a.id < b.id ? -1 : 1)

export interface DiscoverOptions extends GroupOptions {
  /** How many devices are wanted. */
  readonly count: number
  /** SHA-256 of the model that they must hold, as `Model.digest`: the caller's, never a device's word. */
  readonly digest: string
  /** Their numerics class, where bits must be the same; default: any. */
  readonly numericsClass?: string
  /** Most milliseconds until there are enough; default 5,000. */
  readonly timeoutMs?: number
  /** Milliseconds that are waited for others than the first enough, to choose among them; default 200. */
  readonly settleMs?: number
  readonly signal?: AbortSignal
}

/**
 * Finds `count` devices that hold a model: the least busy first, among those the fastest. Waits for those that are still
 * starting. Rejects with {@link DeviceError} after `timeoutMs`, which says who is there and what each lacks.
 */
export async function discover(nc: NatsConnection, options: DiscoverOptions): Promise<Announcement[]> {
  const { count, timeoutMs = 5000, settleMs = 200, signal } = options
  signal?.throwIfAborted()
  let changed = (): void => {}
  const directory = new Directory(nc, { ...options, changed: () => changed() })
  const { digest } = options
  const holds = (device: Announcement): boolean => device.models.some(m => m.digest === digest)
  // Those that would have to fetch the model come last.
  const fitting = (): Announcement[] => {
    const fit = directory.devices.filter(device => lack(device, options) === undefined)
    return [...fit.filter(holds), ...fit.filter(device => !holds(device))]
  }
  const timers: ReturnType<typeof setTimeout>[] = []
  let onAbort = (): void => {}
  try {
    return await new Promise<Announcement[]>((resolve, reject) => {
      onAbort = () => reject(signal?.reason)
      signal?.addEventListener('abort', onAbort)
      let isSettled = false
      changed = () => {
        if (isSettled && fitting().length >= count) resolve(fitting().slice(0, count))
      }
      directory.ask()
      const settled = setTimeout(() => {
        isSettled = true
        changed()
      }, settleMs)
      const late = setTimeout(() => reject(new DeviceError(tooFew(directory.devices, options))), timeoutMs)
      timers.push(settled, late)
      void nc.closed().then(() => reject(new DeviceError('the connection to the NATS server was closed')))
    })
  } finally {
    signal?.removeEventListener('abort', onAbort)
    for (const timer of timers) clearTimeout(timer)
    directory.close()
  }
}

/** Why a device is not one of those that are looked for. */
function lack(device: Announcement, { digest, numericsClass }: DiscoverOptions): string | undefined {
  if (device.addresses.length === 0) return 'names no address'
  const held = device.models.filter(m => m.digest === digest)
  if (held.length === 0) {
    // One that is at work keeps its model.
    if (device.fetches && device.sessions === 0) return undefined
    const others = device.models.map(m => `${m.name} ${short(m.digest)}`).join(', ') || 'no model'
    return `holds ${others}, not ${short(digest)}`
  }
  if (numericsClass !== undefined && held.every(m => m.numericsClass !== numericsClass))
    return `computes in class ${held.map(m => m.numericsClass).join(', ')}, not ${numericsClass}`
  return undefined
}

function tooFew(devices: readonly Announcement[], options: DiscoverOptions): string {
  const { count, group = 'default', timeoutMs = 5000 } = options
  const lacks = devices.flatMap(device => {
    const why = lack(device, options)
    return why === undefined ? [] : [`${device.name} ${why}`]
  })
  const found = devices.length - lacks.length
  const wanted = count === 1 ? '1 device was' : `${count} devices were`
  return [
    `${wanted} wanted with the model ${short(options.digest)}, and ${found} found in group ${group} within ${timeoutMs} ms`,
    ...lacks,
  ].join('; ')
}

const short = (digest: string): string => `sha256 ${digest.slice(0, 8)}…`
