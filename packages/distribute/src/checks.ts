/**
 * What came in a frame, as what it must be: each function takes something unknown and gives the message that it is, or throws
 * {@link ConnectionError} naming the field. Nothing is allocated by a number before that number is checked.
 */
import {
  type GenerateOptions,
  InputError,
  type Part,
  type SamplingOptions,
  type StackShape,
  type TimedStage,
  type Want,
} from '@prismal/models'
import { ConnectionError } from './errors.js'
import type { DoneMessage, ErrorMessage, LinkMessage, PartHeader, RunMessage, TokenMessage } from './messages.js'
import type { SharingOptions } from './options.js'
import type { Frame, Kind } from './wire.js'

/** Most devices of a request. */
export const MOST_DEVICES = 1024
/** Most rows of a batch, sequence after sequence. */
export const MOST_ROWS = 2 ** 20
/** Most partitions of a batch: sequences × devices. */
export const MOST_PARTITIONS = 2 ** 18
/** Most layers of a model: a frame has 16 bits for their number. */
const MOST_LAYERS = 2 ** 16
/** Most addresses of a device. */
const MOST_ADDRESSES = 16

type Fields = Readonly<Record<string, unknown>>
/** Reads a value; `at` names it in errors. */
type Read<T> = (value: unknown, at: string) => T

const refuse = (at: string, value: unknown, due: string): never => {
  throw new ConnectionError(`${at} is ${shown(value)}, not ${due}`)
}

/** A value as messages show it: short. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  const text = typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : String(value)
  return text.replace(/\p{Cc}/gu, ' ')
}

const whole =
  (least: number, most: number): Read<number> =>
  (value, at) =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
      ? (value as number)
      : refuse(at, value, `a whole number from ${least} to ${most}`)
const count = whole(0, Number.MAX_SAFE_INTEGER)
const number: Read<number> = (value, at) =>
  typeof value === 'number' && Number.isFinite(value) ? value : refuse(at, value, 'a number')
const amount: Read<number> = (value, at) => (number(value, at) >= 0 ? (value as number) : refuse(at, value, '≥ 0'))
const flag: Read<boolean> = (value, at) => (typeof value === 'boolean' ? value : refuse(at, value, 'true or false'))
const text =
  (most: number): Read<string> =>
  (value, at) =>
    typeof value === 'string' && value.length <= most
      ? value
      : refuse(at, value, `a text of at most ${most} characters`)
const named =
  <T extends string>(...known: readonly T[]): Read<T> =>
  (value, at) =>
    known.includes(value as T) ? (value as T) : refuse(at, value, `one of ${known.join(', ')}`)
const list =
  <T>(read: Read<T>, most: number): Read<T[]> =>
  (value, at) =>
    Array.isArray(value) && value.length <= most
      ? value.map((item, i) => read(item, `${at}[${i}]`))
      : refuse(at, value, `a list of at most ${most}`)

function fields(value: unknown, at: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse(at, value, 'an object')
  return value as Fields
}

/** Those of the fields that are there, as they must be; others are not looked at. */
function optional<T extends object>(
  from: Fields,
  at: string,
  reads: { readonly [K in keyof T]: Read<T[K]> },
): Partial<T> {
  const found: Partial<T> = {}
  for (const key of Object.keys(reads) as (keyof T & string)[])
    if (Object.hasOwn(from, key) && from[key] !== undefined) found[key] = reads[key](from[key], `${at}.${key}`)
  return found
}

const RUN = 'a run'

/** A run without what is one device's own. */
export type Asked = Omit<RunMessage, 'self' | 'parts'>

/** Whether the model can have such sequences, and the plan be made, is for others to say. */
export function parseRun(json: unknown): RunMessage {
  const message = fields(json, RUN)
  const run = asked(message)
  const { devices, rows } = run
  const parts = list(partHeader, rows.length)(message.parts, `${RUN}'s parts`)
  if (parts.length !== rows.length) refuse(`${RUN}'s parts`, parts, `as many as its ${rows.length} sequences`)
  return { ...run, self: whole(0, devices - 1)(message.self, `${RUN}'s self`), parts }
}

/** Throws {@link InputError} where devices would refuse a run: they would end the connection, which other requests use too. */
export function expectTaken(run: Asked): void {
  try {
    asked(fields(run, RUN))
  } catch (cause) {
    throw new InputError(`devices cannot be asked for this: ${(cause as Error).message}`, { cause })
  }
}

function asked(message: Fields): Asked {
  const at = (name: string): string => `${RUN}'s ${name}`
  const devices = whole(1, MOST_DEVICES)(message.devices, at('devices'))
  const rows = list(whole(0, MOST_ROWS), MOST_PARTITIONS / devices)(message.rows, at('rows'))
  const total = rows.reduce((a, b) => a + b, 0)
  if (total > MOST_ROWS) refuse(at('rows'), total, `together at most ${MOST_ROWS}`)
  return {
    devices,
    rows,
    want: want(message.want, at('want'), rows),
    decodes: flag(message.decodes, at('decodes')),
    output: named('rows', 'mean', 'tokens')(message.output, at('output')),
    options: sharing(message.options, at('options'), devices),
    ...(message.generate !== undefined && { generate: generateOptions(message.generate, at('generate')) }),
    ...(message.seen !== undefined && { seen: list(list(count, MOST_ROWS), rows.length)(message.seen, at('seen')) }),
  }
}

const ARRAYS = 4
const partHeader: Read<PartHeader> = (value, at) => {
  const lengths = list(whole(-1, 2 ** 30), ARRAYS + 1)(value, at)
  const isPacked = lengths.length === ARRAYS + 1 && lengths[ARRAYS] === 1
  return lengths.length === ARRAYS || isPacked ? lengths : refuse(at, value, `${ARRAYS} lengths`)
}

function want(value: unknown, at: string, rows: readonly number[]): Want {
  if (!Array.isArray(value)) return named('all', 'first', 'last', 'mean')(value, at)
  const lists = list(list(count, MOST_ROWS), rows.length)(value, at)
  for (const [s, asked] of lists.entries())
    for (const row of asked) if (row >= (rows[s] as number)) refuse(`${at}[${s}]`, row, `a row of ${rows[s]}`)
  return lists
}

/** The options of sharing that there are, of the right types; others are left out. Whether they can be planned by, `createPlan` says. */
export function sharing(value: unknown, at: string, devices: number): SharingOptions {
  return optional<Required<SharingOptions>>(fields(value, at), at, {
    strategy: text(20) as Read<never>,
    point: text(20) as Read<never>,
    wire: text(20) as Read<never>,
    handoff: text(20) as Read<never>,
    order: text(20) as Read<never>,
    turn: number,
    bounds: (bounds, where) => (typeof bounds === 'number' ? number : (text(20) as Read<never>))(bounds, where),
    segments: oneOrEach,
    rows: number,
    compressionRate: number,
    sink: number,
    tail: number,
    near: number,
    anchor: number,
    halo: number,
    gain: oneOrEach,
    padTo: number,
    weights: list(number, devices),
    lost: (pair, where) => {
      const [device, layer, ...more] = list(count, 2)(pair, where)
      if (device === undefined || layer === undefined || more.length > 0) return refuse(where, pair, '[device, layer]')
      return [device, layer] as const
    },
  })
}

/** A number, or one a layer. */
const oneOrEach: Read<number | readonly number[]> = (value, at) =>
  Array.isArray(value) ? list(number, MOST_LAYERS)(value, at) : number(value, at)

function generateOptions(value: unknown, at: string): GenerateOptions {
  const options = fields(value, at)
  return {
    maxNewTokens: whole(1, Number.MAX_SAFE_INTEGER)(options.maxNewTokens, `${at}.maxNewTokens`),
    ...optional<Required<Omit<GenerateOptions, 'maxNewTokens'>>>(options, at, {
      endIds: list(count, MOST_ROWS),
      forced: list(list(count, MOST_ROWS), MOST_ROWS),
      withLogits: flag,
      sampling: (sampling, where) =>
        optional<Required<SamplingOptions>>(fields(sampling, where), where, {
          temperature: number,
          topK: number,
          topP: number,
          repetitionPenalty: number,
          seed: number,
        }),
    }),
  }
}

const deviceNumber = whole(0, 0xffff)

export function parseLink(json: unknown): LinkMessage {
  const message = fields(json, 'a link')
  return {
    peer: deviceNumber(message.peer, "a link's peer"),
    self: deviceNumber(message.self, "a link's self"),
    session: text(256)(message.session, "a link's session"),
    addresses: list(text(2048), MOST_ADDRESSES)(message.addresses, "a link's addresses"),
  }
}

export function parseDone(json: unknown): DoneMessage {
  const message = fields(json, 'done')
  return {
    stages: list((value, at) => {
      const [stage, ...figures] = list(value => value, 5)(value, at)
      const [flops, bytesSent, bytesReceived, milliseconds] = figures.map((figure, i) =>
        amount(figure, `${at}[${i + 1}]`),
      )
      if (figures.length !== 4) return refuse(at, value, 'a name and 4 figures')
      return { stage: text(100)(stage, `${at}[0]`), flops, bytesSent, bytesReceived, milliseconds } as TimedStage
    }, MOST_ROWS)(message.stages, "done's stages"),
    rows: count(message.rows, "done's rows"),
    peakBytes: amount(message.peakBytes, "done's peakBytes"),
    milliseconds: amount(message.milliseconds, "done's milliseconds"),
  }
}

export function parseToken(json: unknown): TokenMessage {
  const message = fields(json, 'a token')
  return {
    sequence: count(message.sequence, "a token's sequence"),
    id: count(message.id, "a token's id"),
    ...optional<Required<Pick<TokenMessage, 'end'>>>(message, 'a token', {
      end: named('length', 'end-token', 'positions'),
    }),
  }
}

export function parseError(json: unknown): ErrorMessage {
  const message = fields(json, 'an error')
  return {
    code: text(100)(message.code, "an error's code"),
    message: text(100_000)(message.message, "an error's message"),
  }
}

const ANSWERS: { readonly [K in Kind]?: (json: unknown) => unknown } = {
  done: parseDone,
  token: parseToken,
  error: parseError,
  output: json => json,
  linked: json => json,
  echo: json => json,
}

/** A frame with its JSON as the message that it is. Throws {@link ConnectionError} where it is not what a device says to its coordinator. */
export function parseAnswer(frame: Frame): Frame {
  const { kind, data } = frame
  const parse = ANSWERS[kind]
  if (!parse) throw new ConnectionError(`a device sent ${kind}, which is not for its coordinator`)
  const json = parse(frame.json)
  if ((kind === 'output' || kind === 'token') && data.length % 4 !== 0)
    throw new ConnectionError(`a device sent ${data.length} bytes as f32 values`)
  return json === undefined ? frame : { ...frame, json }
}

/** Throws {@link ConnectionError} where a frame is not what another device sends: rows of a layer that there is, its own. */
export function expectExchanged(f: Frame, peer: number, layers: number): void {
  if (f.kind !== 'rows' && f.kind !== 'handoff')
    throw new ConnectionError(`device ${peer} sent ${f.kind}, which only coordinators and devices say to each other`)
  if (f.from !== peer) throw new ConnectionError(`device ${peer} sent ${f.kind} as device ${f.from}`)
  if (f.layer >= layers)
    throw new ConnectionError(`device ${peer} sent ${f.kind} of layer ${f.layer}; the model has ${layers}, from 0`)
}

/** Throws {@link ConnectionError} where a part's arrays are not as long as its rows ask for, in a model of this shape. */
export function expectPart(part: Part, { patchWidth, prefixRows, positions }: StackShape): void {
  const { from, to } = part
  const rows = to - from
  if (to > positions) throw new ConnectionError(`rows ${from} to ${to} were dealt; the model has ${positions}`)
  const patches = Math.max(0, to - prefixRows) - Math.max(0, from - prefixRows)
  const due = patchWidth > 0 ? { patches: patches * patchWidth } : { ids: rows, types: rows, positions: rows }
  for (const name of ['ids', 'types', 'positions', 'patches'] as const) {
    const length = part[name]?.length
    const expected = (due as { readonly [K in typeof name]?: number })[name]
    const isNeeded = rows > 0 && (name === 'ids' || name === 'patches') && expected !== undefined && expected > 0
    if (length === undefined ? isNeeded : length !== expected)
      throw new ConnectionError(`${rows} rows take ${expected ?? 'no'} ${name}; ${length ?? 'none'} came`)
  }
}

/** Bytes of frames for requests that have not started, on one connection. */
export const MOST_EARLY_BYTES = 2 ** 26
/** What keeping a frame takes besides its data, about. */
const FRAME_COST = 256

/** Counts what a connection brought for requests that do not run, which may never start. */
export class EarlyFrames {
  readonly #bytes = new Map<number, number>()
  #total = 0

  /** Throws {@link ConnectionError} where there is too much of it. `isEarly` tells of which requests it still is. */
  add(request: number, dataBytes: number, isEarly: (request: number) => boolean): void {
    if (!isEarly(request)) return
    const bytes = FRAME_COST + dataBytes
    this.#bytes.set(request, (this.#bytes.get(request) ?? 0) + bytes)
    this.#total += bytes
    if (this.#total <= MOST_EARLY_BYTES) return
    for (const [known, held] of this.#bytes)
      if (!isEarly(known)) {
        this.#bytes.delete(known)
        this.#total -= held
      }
    if (this.#total > MOST_EARLY_BYTES)
      throw new ConnectionError(
        `${this.#total} bytes came for requests that have not started; at most ${MOST_EARLY_BYTES} are kept`,
      )
  }
}
