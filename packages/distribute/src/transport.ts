/** What a transport offers: connections that carry messages of bytes, in order. Implementations depend on this file only. */

export interface Connection {
  /** Longest message that it carries. */
  readonly maxMessageBytes: number
  /**
   * Hands a message over; messages arrive in order, whole. Resolves when the transport is ready for more. The bytes
   * belong to the transport afterwards. Rejects with `ConnectionError` once closed.
   */
  send(message: Uint8Array): Promise<void>
  /**
   * Takes messages from now on; those that came before wait for it. Called once. Where it returns a promise, the message
   * counts as taken, and makes room for another, when that resolves.
   */
  receive(handler: (message: Uint8Array) => void | Promise<void>): void
  /** Ends it on both sides. Twice is harmless. */
  close(reason?: string): void
  /** Resolves with the reason once it is closed, by whichever side. */
  readonly closed: Promise<string>
}

/** A way for messages to travel between machines: what `dial` gives may fragment, drop or end; `reliable()` and the handshake come above. */
export interface Transport {
  /** As it is called in messages: `web-socket`. */
  readonly name: string
  /** Schemes of its addresses, without the colon: `ws`, `wss`. */
  readonly schemes: readonly string[]
  /** Its library works in one thread of a process only: the thread that has used it stays as long as the process. */
  readonly staysInThread?: boolean
  /** Resolves when nothing is left of connections that were closed. A thread that uses it waits for that before it ends. */
  rest?(): Promise<void>
  /** Connects to an address. Rejects with `ConnectionError`, which names the address and what was tried. */
  dial(address: string, options?: DialOptions): Promise<Connection>
  /**
   * Takes connections at an address; port 0 is any free one. Rejects with `ConnectionError` where it cannot, e.g. since
   * the port is in use.
   */
  listen(address: string, accept: (arrival: Arrival) => void, options?: ListenOptions): Promise<Listener>
}

export interface DialOptions {
  /** Ends dialling, with its reason. */
  readonly signal?: AbortSignal
  /** Most milliseconds until the other side has answered; default 10,000. */
  readonly timeoutMs?: number
  /** PEM of certificate authorities that are trusted for `wss`, besides the platform's. Node only. */
  readonly authorities?: string
  /**
   * The NATS server of addresses that leave it open (`nats://_/SUBJECT`), as each side reaches it: a URL, which may hold
   * credentials.
   */
  readonly natsServer?: string
  /** Servers that `web-rtc` asks how this machine is seen from elsewhere, or that relay; default: none. */
  readonly iceServers?: readonly IceServer[]
}

/** As browsers take it: `{ urls: 'stun:stun.example:3478' }`. */
export interface IceServer {
  readonly urls: string
  readonly username?: string
  readonly credential?: string
}

export interface ListenOptions {
  /** Values of `Origin` that are let in besides none at all (browsers always send one); default: none of them. */
  readonly allowedOrigins?: readonly string[]
  /** Host names that are let in besides the listening address and, on loopback, `localhost`. */
  readonly allowedHosts?: readonly string[]
  /** Most connections at once; more are refused. Default 256. */
  readonly maxConnections?: number
  /** Most milliseconds until a connection has said what it wants; default 10,000. */
  readonly requestTimeoutMs?: number
  /** PEM of certificate and key, where the scheme asks for them (`wss`). */
  readonly certificate?: { readonly cert: string; readonly key: string }
  /** As those of {@link DialOptions.iceServers}. */
  readonly iceServers?: readonly IceServer[]
  /** As in {@link DialOptions}. */
  readonly natsServer?: string
  /** Told about who was refused and why, without secrets. */
  readonly log?: (message: string) => void
}

/** A connection that came in. */
export interface Arrival {
  readonly connection: Connection
  /** Who it is, as far as the transport knows: `192.0.2.7:50412`. */
  readonly from: string
}

export interface Listener {
  /** Where it can be dialled, with the port that it got. */
  readonly address: string
  /** Takes no more connections and ends those that it took. Resolves when nothing of it is left. */
  close(reason?: string): Promise<void>
}
