/** What came on a connection: fragments become messages, and messages wait to be taken, within what may be held. */
import { ConnectionError } from './errors.js'
import { malformed } from './packets.js'
import { joined } from './wire.js'

export interface InboxOptions {
  /** Longest message, in bytes. */
  readonly maxMessageBytes: number
  /** Told that packets of this cost make room for others. */
  readonly taken: (cost: number) => void
  /** Told that the handler threw or rejected. */
  readonly refused: (error: unknown) => void
}

type Handler = (message: Uint8Array) => void | Promise<void>

export class Inbox {
  readonly #options: InboxOptions
  readonly #fragments = new Fragments()
  /** Cost of the fragments that was not given back. */
  #cost = 0
  readonly #messages: { readonly message: Uint8Array; readonly cost: number }[] = []
  #handler: Handler | undefined
  #isBusy = false

  constructor(options: InboxOptions) {
    this.#options = options
  }

  /** Gives the messages to a handler, one at a time, those that came before too. */
  receive(handler: Handler): void {
    this.#handler = handler
    this.#deliver()
  }

  /** A fragment, whose packet had this cost. Throws {@link ConnectionError} where the message is too long or the fragment empty. */
  add(fragment: Uint8Array, last: boolean, cost: number): void {
    const fragments = this.#fragments
    const most = this.#options.maxMessageBytes
    if (fragments.bytes + fragment.length > most)
      throw new ConnectionError(`a message is longer than ${most} bytes, the longest that is taken`)
    if (fragment.length === 0 && (fragments.bytes > 0 || !last)) throw malformed('a fragment is empty')
    this.#cost += cost
    if (!last) {
      fragments.add(fragment)
      this.#makeRoom()
      return
    }
    let message = fragment
    if (fragments.bytes > 0) {
      fragments.add(fragment)
      message = fragments.take()
    }
    this.#messages.push({ message, cost: this.#cost })
    this.#cost = 0
    this.#deliver()
  }

  /**
   * What has come of a message makes room for the rest of it, which may be longer than the window; but only while no whole
   * message waits, so that no more than one is held beyond the window.
   */
  #makeRoom(): void {
    if (this.#isBusy || this.#messages.length > 0 || this.#cost === 0) return
    const cost = this.#cost
    this.#cost = 0
    this.#options.taken(cost)
  }

  #deliver(): void {
    const handler = this.#handler
    if (!handler || this.#isBusy) return
    const { taken, refused } = this.#options
    this.#isBusy = true
    for (let next = this.#messages.shift(); next; next = this.#messages.shift()) {
      const { message, cost } = next
      try {
        const taking = handler(message)
        if (taking) {
          const done = (): void => {
            this.#isBusy = false
            taken(cost)
            this.#deliver()
          }
          taking.catch(refused).then(done)
          return
        }
      } catch (error) {
        refused(error)
      }
      taken(cost)
    }
    this.#isBusy = false
    this.#makeRoom()
  }
}

/** Many small fragments are joined as they come, so that they hold about as much memory as they have bytes. */
const MOST_LOOSE = 1024

/** Fragments of one message. */
class Fragments {
  #joined: Uint8Array[] = []
  #loose: Uint8Array[] = []
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }
  add(fragment: Uint8Array): void {
    this.#loose.push(fragment)
    this.#bytes += fragment.length
    if (this.#loose.length < MOST_LOOSE) return
    this.#joined.push(joined(this.#loose))
    this.#loose = []
  }
  /** The message, and room for the next one's. */
  take(): Uint8Array {
    const message = joined([...this.#joined, ...this.#loose])
    this.#joined = []
    this.#loose = []
    this.#bytes = 0
    return message
  }
}
