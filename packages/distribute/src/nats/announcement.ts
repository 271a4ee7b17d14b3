/** What a device tells of itself, and what of it is believed. */
import type { Msg, NatsConnection } from '@nats-io/nats-core'
import type { Secret } from '../secret.js'
import { joined } from '../wire.js'
import { type Authenticator, authenticator, utf8 } from './keys.js'
import { type Subjects, subjectsOf } from './subjects.js'

/** A model that a device holds. */
export interface HeldModel {
  readonly name: string
  /** SHA-256, as `Model.digest`. */
  readonly digest: string
  readonly dtype: string
  readonly numericsClass: string
}

/** A device as it tells of itself. */
export interface Announcement {
  /** One start of one device: letters, digits, `-` and `_`. */
  readonly id: string
  readonly name: string
  /** Where it can be dialled: directly (`ws://192.0.2.7:7040`), or through this server (`nats://_/SUBJECT`). */
  readonly addresses: readonly string[]
  /** Whether it brings models that it lacks from the Object Store when it is asked to join. */
  readonly fetches?: boolean
  readonly models: readonly HeldModel[]
  /** Floating-point operations in a second, measured at its start, in 10⁹. */
  readonly gigaflops: number
  /** Most bytes that it may use, where it has a limit. */
  readonly memoryLimitBytes?: number
  /** Bytes that are left of it. */
  readonly memoryFreeBytes?: number
  readonly threads: number
  /** Build of its kernels: `relaxed-simd`. */
  readonly build: string
  /** Coordinators that it works for: its load. */
  readonly sessions: number
  /** Of prismal. */
  readonly version: string
}

/** An announcement on its way. */
export interface Told {
  readonly kind: 'here' | 'gone'
  readonly device: Announcement
  /** Milliseconds since 1970 by the device's clock; later ones of a device are larger. */
  readonly time: number
  /** Milliseconds between its heartbeats: after three that did not come it is gone. */
  readonly heartbeatMs: number
  /** Of the question that it answers. */
  readonly nonce?: string
}

export interface GroupOptions {
  /** Announcements of groups that do not have it are not believed. */
  readonly secret?: Secret
  /** Groups do not see each other; default `default`. */
  readonly group?: string
  /** Told about who was not believed and why. */
  readonly log?: (message: string) => void
}

const NEW_LINE = utf8('\n')
/** base64url of 32 bytes. */
const MAC_LETTERS = 43
const MOST_BYTES = 32 << 10
/** A heartbeat that is older, by the device's clock as far as it is known, is a repetition. */
const FRESH_MS = 30_000
/** Most complaints that are made. */
const MOST_COMPLAINTS = 256
/** Devices that are remembered to refuse repetitions. */
const REMEMBERED = 4096

/** Signs and believes announcements of a group. */
export class Town {
  readonly subjects: Subjects
  readonly log: (message: string) => void
  readonly #authenticator: Authenticator
  readonly #nc: NatsConnection
  /** Of each device, the time of its last announcement and how far its clock is from ours, where an answer told it. */
  readonly #last = new Map<string, { time: number; offsetMs?: number }>()
  readonly #complained = new Set<string>()

  readonly #doubted: () => void
  #doubtedAt = 0

  /** `doubted` is called, not too often, where an announcement would be believed as an answer. */
  constructor(nc: NatsConnection, { secret, group, log = () => {} }: GroupOptions, doubted: () => void = () => {}) {
    this.#nc = nc
    this.#doubted = doubted
    this.subjects = subjectsOf(group)
    this.log = log
    this.#authenticator = authenticator(secret, 'announcement', this.subjects.group)
  }

  /** Publishes it at a subject. */
  async tell(subject: string, told: Told): Promise<void> {
    const bytes = utf8(JSON.stringify(told))
    const mac = await this.#authenticator.sign(bytes)
    if (this.#nc.isClosed()) return
    this.#nc.publish(subject, mac === undefined ? bytes : joined([utf8(mac), NEW_LINE, bytes]))
  }

  /**
   * What a message tells, if it is believed: it carries the MAC of this group's secret, and answers `nonce` or is fresh and
   * later than what the device told before. Else undefined, and the reason goes to the log.
   */
  async believe(message: Msg, nonce?: string): Promise<Told | undefined> {
    if (message.data.length > MOST_BYTES)
      return this.#refuse('someone', `${message.data.length} bytes are more than ${MOST_BYTES}`)
    const { data, mac } = withoutMac(message.data)
    const lie = await this.#authenticator.whyNot(data, mac)
    const told = parseTold(data)
    const who = typeof told === 'string' ? 'someone' : told.device.name
    if (lie !== undefined) return this.#refuse(who, lie)
    if (typeof told === 'string') return this.#refuse('someone', told)
    const { id } = told.device
    const last = this.#last.get(id)
    const now = Date.now()
    if (told.nonce !== undefined && told.nonce === nonce) {
      this.#remember(id, { time: Math.max(told.time, last?.time ?? 0), offsetMs: told.time - now })
      return told
    }
    if (told.nonce !== undefined) return this.#refuse(who, 'it answers another question')
    // A device that answered has told what its clock says.
    const ageMs = now + (last?.offsetMs ?? 0) - told.time
    if (Math.abs(ageMs) > FRESH_MS) {
      if (!last && now - this.#doubtedAt > 1000) {
        this.#doubtedAt = now
        this.#doubted()
      }
      return this.#refuse(who, `it is ${Math.round(ageMs / 1000)} s old: a repetition, or its clock is wrong`)
    }
    if (last && told.time <= last.time) return this.#refuse(who, 'it is a repetition')
    this.#remember(id, { ...last, time: told.time })
    return told
  }

  #remember(id: string, last: { time: number; offsetMs?: number }): void {
    this.#last.delete(id)
    this.#last.set(id, last)
    if (this.#last.size > REMEMBERED) this.#last.delete(this.#last.keys().next().value as string)
  }

  /** Each complaint once: heartbeats repeat themselves. */
  #refuse(who: string, why: string): undefined {
    const complaint = `not believed that ${who} is there: ${why}`
    if (this.#complained.size >= MOST_COMPLAINTS || this.#complained.has(complaint)) return
    this.#complained.add(complaint)
    this.log(complaint)
  }
}

/** JSON, and the MAC that is a line of its own before it where there is a secret. */
function withoutMac(bytes: Uint8Array): { data: Uint8Array; mac?: string } {
  if (bytes[MAC_LETTERS] !== NEW_LINE[0]) return { data: bytes }
  return { data: bytes.subarray(MAC_LETTERS + 1), mac: new TextDecoder().decode(bytes.subarray(0, MAC_LETTERS)) }
}

/** What the bytes tell, or why they tell nothing. Whatever is shown to people is free of control characters. */
export function parseTold(bytes: Uint8Array): Told | string {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return 'it is not JSON'
  }
  if (!isObject(json) || !isObject(json.device)) return 'it tells of no device'
  const { device } = json
  const { kind, time, heartbeatMs, nonce } = json
  const models = Array.isArray(device.models) ? device.models : []
  const wrong = [
    kind !== 'here' && kind !== 'gone' && 'kind',
    !isNumber(time) && 'time',
    !(isNumber(heartbeatMs) && heartbeatMs >= 50 && heartbeatMs <= 60_000) && 'heartbeatMs',
    nonce !== undefined && !(typeof nonce === 'string' && /^[0-9a-f]{32}$/.test(nonce)) && 'nonce',
    !(typeof device.id === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(device.id)) && 'id',
    !isText(device.name) && 'name',
    !isTexts(device.addresses) && 'addresses',
    device.fetches !== undefined && typeof device.fetches !== 'boolean' && 'fetches',
    !(Array.isArray(device.models) && models.length <= 16 && models.every(isModel)) && 'models',
    ...['gigaflops', 'threads', 'sessions'].map(name => !isNumber(device[name]) && name),
    ...['memoryLimitBytes', 'memoryFreeBytes'].map(
      name => device[name] !== undefined && !isNumber(device[name]) && name,
    ),
    ...['build', 'version'].map(name => !isText(device[name]) && name),
  ].filter(name => typeof name === 'string')
  return wrong.length > 0 ? `its ${wrong.join(', ')} cannot be` : (json as unknown as Told)
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= Number.MAX_SAFE_INTEGER
const isText = (value: unknown): value is string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal would obey them
  typeof value === 'string' && value.length <= 300 && !/[\u0000-\u001f\u007f-\u009f]/.test(value)
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.length <= 16 && value.every(isText)
const isModel = (value: unknown): boolean =>
  isObject(value) && ['name', 'digest', 'dtype', 'numericsClass'].every(name => isText(value[name]))
