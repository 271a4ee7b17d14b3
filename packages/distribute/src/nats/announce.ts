/** A device tells that it is there: at its start, as a heartbeat, to whoever asks, and when it leaves. */
import type { NatsConnection } from '@nats-io/nats-core'
import { type Announcement, type GroupOptions, type Told, Town } from './announcement.js'

export interface AnnounceOptions extends GroupOptions {
  /** Milliseconds between heartbeats; default 3,000. */
  readonly heartbeatMs?: number
}

export interface Announcing {
  /** Tells at once, since something changed. */
  tell(): void
  /** Tells that the device leaves. Resolves when the server has it. */
  stop(): Promise<void>
}

/** Answers in a second; whoever asks more often is not answered. */
const MOST_ANSWERS = 50

/**
 * Announces a device until `stop()`. `describe` is asked each time, so that its load is as it is; its `id` is one start of
 * one device. When the server goes away and comes back, so does the device.
 */
export function announce(nc: NatsConnection, describe: () => Announcement, options: AnnounceOptions = {}): Announcing {
  const { heartbeatMs = 3000 } = options
  const town = new Town(nc, options)
  const { subjects, log } = town
  let last = 0
  const told = (kind: Told['kind'], nonce?: string): Told => {
    // Later than the one before even where the clock stands still or was set back.
    last = Math.max(Date.now(), last + 1)
    return { kind, device: describe(), time: last, heartbeatMs, ...(nonce !== undefined && { nonce }) }
  }
  // One after another, in the order of their times.
  let telling = Promise.resolve()
  const tell = (subject: string, what: Told): Promise<void> => {
    telling = telling
      .then(() => town.tell(subject, what))
      .catch((error: Error) => log(`could not tell that ${what.device.name} is ${what.kind}: ${error.message}`))
    return telling
  }
  const tellAll = (): void => void tell(subjects.here, told('here'))

  let answers = 0
  let second = 0
  const subscription = nc.subscribe(subjects.who, {
    callback(error, message) {
      if (error) return log(`who is there cannot be heard: ${error.message}`)
      const nonce = new TextDecoder().decode(message.data.subarray(0, 64))
      if (!message.reply || !/^[0-9a-f]{32}$/.test(nonce)) return
      const isLater = Date.now() - second >= 1000
      if (isLater) {
        second = Date.now()
        answers = 0
      }
      if (answers++ < MOST_ANSWERS) void tell(message.reply, told('here', nonce))
    },
  })
  const timer = setInterval(tellAll, heartbeatMs)
  tellAll()
  const watched = backAgain(nc, tellAll)
  return {
    tell: tellAll,
    async stop() {
      clearInterval(timer)
      watched.stop()
      if (nc.isClosed()) return
      subscription.unsubscribe()
      await tell(subjects.here, told('gone'))
      await nc.flush().catch(() => {})
    },
  }
}

/** Calls back each time that the client has found a server again. */
function backAgain(nc: NatsConnection, then: () => void): { stop(): void } {
  const statuses = nc.status()[Symbol.asyncIterator]()
  const watch = async (): Promise<void> => {
    for (let next = await statuses.next(); !next.done; next = await statuses.next())
      if (next.value.type === 'reconnect') then()
  }
  void watch()
  return { stop: () => void statuses.return?.() }
}
