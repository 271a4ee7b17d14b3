/** Asks whichever group of devices has room, and waits for its answer. */
import type { NatsConnection } from '@nats-io/nats-core'
import { InputError } from '@prismal/models'
import { PrismalError } from '@prismal/tensor'
import { randomId } from '../bytes-as-text.js'
import { ConnectionError, DeviceError } from '../errors.js'
import type { GroupOptions } from './announcement.js'
import { type Sealer, sealer } from './keys.js'
import {
  inOrder,
  MOST_REPLY_BYTES,
  MOST_REQUEST_BYTES,
  pack,
  packRequest,
  type ReplyHead,
  replyContext,
  requestContext,
  type TaskRequest,
  unpack,
} from './requests.js'
import { messageRoom, REQUESTS_BUCKET } from './serve.js'
import { openStore } from './store.js'
import { type Subjects, subjectsOf } from './subjects.js'

export interface AskOptions extends Omit<GroupOptions, 'log'> {
  /** Most milliseconds until the answer is there; default 300,000. */
  readonly timeoutMs?: number
  /** Milliseconds of silence after which the group that took the request counts as gone; default 10,000. */
  readonly silenceMs?: number
  /** Most milliseconds that are waited for a group that serves the task to appear; default 5,000. */
  readonly appearMs?: number
  /** Told text as it is generated. A request of which some was told is not asked again when its group is gone. */
  readonly onPiece?: (text: string) => void
  readonly signal?: AbortSignal
}

export interface Answered<T> {
  /** As `prismal run --json` prints it. */
  readonly result: T
  /** The group that answered. */
  readonly by: string
}

/** How one attempt ended where nobody answered. */
type Unanswered = 'nobody' | 'busy' | 'silent' | 'lost'

/** Most milliseconds until a request is taken; it may have been lost on its way. */
const TAKEN_MS = 3000

/**
 * Has a request computed by one of the groups that serve its task; waits while all are busy, and asks another where one is
 * gone. Rejects with the group's error (a `PrismalError` of its code), {@link DeviceError} where nobody answers, and
 * `InputError` for inputs that are too long.
 */
export async function ask<T = unknown>(
  nc: NatsConnection,
  task: string,
  request: TaskRequest,
  options: AskOptions = {},
): Promise<Answered<T>> {
  const { timeoutMs = 300_000, appearMs = 5000, secret, signal } = options
  const subjects = subjectsOf(options.group)
  const asker: Asker = {
    nc,
    task,
    subjects,
    sealer: sealer(secret, `request ${subjects.group}`),
    options,
    hasRoom() {},
  }
  const deadline = Date.now() + timeoutMs
  const alone = Date.now() + appearMs
  let freed = 0
  let wake = (): void => {}
  const free = nc.subscribe(subjects.free(task), {
    callback: () => {
      freed++
      asker.hasRoom()
      wake()
    },
  })
  const where = `group ${subjects.group}`
  let reason: Unanswered = 'silent'
  try {
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted()
      const before = freed
      const answered = await attemptOnce<T>(asker, request, deadline)
      if (typeof answered === 'object') return answered
      const left = deadline - Date.now()
      // The last attempt may only have lacked the time.
      if (answered !== 'silent') reason = answered
      if (answered === 'nobody' && Date.now() >= alone)
        throw new DeviceError(`nobody serves ${task} in ${where}: \`prismal serve\` starts a group that does`)
      if (left <= 0)
        throw new DeviceError(`${task} was not answered in ${where} within ${timeoutMs} ms: ${WHY[reason]}`)
      if (freed !== before) continue
      // Until somebody says that there is room, or in case that was lost.
      const pause = Math.min(left, 100 * 2 ** Math.min(attempt, 4)) * (0.75 + Math.random() / 2)
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, pause)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
        signal?.addEventListener('abort', wake, { once: true })
      })
    }
  } finally {
    if (!nc.isClosed()) free.unsubscribe()
  }
}

const WHY: Readonly<Record<Unanswered, string>> = {
  nobody: 'nobody serves it',
  busy: 'all that serve it are busy',
  silent: 'nobody took it',
  lost: 'the group that took it is gone',
}

interface Asker {
  readonly nc: NatsConnection
  readonly task: string
  readonly subjects: Subjects
  readonly sealer: Sealer
  readonly options: AskOptions
  /** Called when a group has room again. */
  hasRoom: () => void
}

async function attemptOnce<T>(asker: Asker, request: TaskRequest, deadline: number): Promise<Answered<T> | Unanswered> {
  const { nc, task, subjects, sealer, options } = asker
  const { silenceMs = 10_000, onPiece = () => {}, signal } = options
  const id = randomId()
  const bytes = await sealedRequest(asker, request, id)
  return new Promise((resolve, reject) => {
    let by: string | undefined
    let hasPieces = false
    let index = 0
    let hearing = Promise.resolve()
    const parts: Uint8Array[] = []
    let partBytes = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    const started = Date.now()
    // Where somebody else listens too, the server does not tell that nobody took it.
    asker.hasRoom = () => {
      if (by === undefined && Date.now() - started > 100) end(() => resolve('silent'))
    }
    const onAbort = (): void => end(() => reject(signal?.reason))
    const end = (then: () => void): void => {
      clearTimeout(timer)
      asker.hasRoom = () => {}
      signal?.removeEventListener('abort', onAbort)
      if (!nc.isClosed()) subscription.unsubscribe()
      then()
    }
    const gone = (): void => {
      if (hasPieces)
        end(() =>
          reject(new DeviceError(`${by}, which had taken the request, is gone: it said nothing for ${silenceMs} ms`)),
        )
      else end(() => resolve(by === undefined ? 'silent' : 'lost'))
    }
    /** Waits for the next sign of life. */
    const listen = (): void => {
      clearTimeout(timer)
      const mostMs = by === undefined ? Math.min(silenceMs, TAKEN_MS) : silenceMs
      timer = setTimeout(gone, Math.max(1, Math.min(mostMs, deadline - Date.now())))
    }
    const heard = async (data: Uint8Array): Promise<void> => {
      const { head, data: rest } = unpack<ReplyHead>(await sealer.open(replyContext(id, index), inOrder(data, index)))
      index++
      if (head.kind === 'taken') by = String(head.by)
      listen()
      switch (head.kind) {
        case 'busy':
          return end(() => resolve('busy'))
        case 'taken':
        case 'working':
          return
        case 'piece':
          hasPieces = true
          return onPiece(String(head.text))
        case 'error':
          return end(() => reject(new PrismalError(String(head.code), String(head.message))))
        case 'part':
        case 'done': {
          parts.push(rest)
          partBytes += rest.length
          if (partBytes > MOST_REPLY_BYTES)
            throw new ConnectionError(`the answer has more than ${MOST_REPLY_BYTES} bytes`)
          if (head.kind === 'part') return
          const result = JSON.parse(await new Blob(parts as Uint8Array<ArrayBuffer>[]).text()) as T
          return end(() => resolve({ result, by: by ?? 'a group' }))
        }
        default:
          throw new ConnectionError('the answer is not one of prismal')
      }
    }
    const subscription = nc.subscribe(`_INBOX.${id}`, {
      callback: (error, message) => {
        if (error) return end(() => reject(new ConnectionError(`${task} cannot be asked: ${error.message}`)))
        if (message.data.length === 0 && message.headers?.code === 503) {
          // Nobody takes more: since all are busy, or there is none.
          const asked = nc.request(subjects.serving(task), '', { timeout: 1000 })
          return void asked.then(
            () => end(() => resolve('busy')),
            () => end(() => resolve('nobody')),
          )
        }
        hearing = hearing.then(() => heard(message.data)).catch(cause => end(() => reject(cause)))
      },
    })
    signal?.addEventListener('abort', onAbort)
    listen()
    nc.publish(subjects.run(task), bytes, { reply: `_INBOX.${id}` })
  })
}

/** The message of a request; what is too long for one goes to the Object Store. */
async function sealedRequest(
  { nc, task, subjects, sealer }: Asker,
  request: TaskRequest,
  id: string,
): Promise<Uint8Array> {
  const context = requestContext(subjects.group, task, id)
  const whole = packRequest(request)
  if (whole.length <= messageRoom(nc)) return sealer.seal(context, whole)
  if (whole.length > MOST_REQUEST_BYTES)
    throw new InputError(`the inputs have ${whole.length} bytes; a request takes ${MOST_REQUEST_BYTES}`)
  const store = await openStore(nc, REQUESTS_BUCKET, { keepMs: 300_000 })
  await store.putBlob({ name: id }, await sealer.seal(`${context} stored`, whole))
  return sealer.seal(context, pack({ time: Date.now(), inputs: [], options: {}, isStored: true }))
}
