/** What the bench and the two sides of an exchange say to each other, an object of JSON a line. */

/** Where a transport's `transport` is exported from, and the address to dial or listen at. */
export interface Place {
  readonly module: string
  readonly address: string
  readonly secretFile?: string
}

export type SideMessage =
  /** Listens; answered with `{ address }`. */
  | { readonly listen: Place }
  /** Dials the other side. */
  | { readonly dial: Place }
  /** Links two threads of this process by a port, and takes both parts of whatever follows. */
  | { readonly ports: true }
  /** Sends a message of so many bytes and waits for one, so often; both sides at once. Answered with `{ milliseconds }`. */
  | { readonly exchange: { readonly bytes: number; readonly times: number } }
  /** One side sends a message of so many bytes and waits for an empty one, so often. Answered with `{ milliseconds }`. */
  | { readonly stream: { readonly bytes: number; readonly times: number; readonly part: 'send' | 'take' } }

/** What the thread that computes is asked; answered with the milliseconds that it took. */
export type Task = Extract<SideMessage, { exchange: unknown } | { stream: unknown }>
