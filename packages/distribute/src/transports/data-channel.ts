/** Connections over a data channel of WebRTC, and how one opens: an offer, an answer, nothing else. */
import { ConnectionError } from '../errors.js'
import type { Connection, IceServer } from '../transport.js'
import { optionalPackage } from './optional-package.js'
import { SocketConnection } from './socket-connection.js'

/** What Chromium, Firefox and libdatachannel all carry. */
const MAX_MESSAGE_BYTES = 256 << 10
const FULL_BYTES = 1 << 20
const LOW_BYTES = 256 << 10
/** Milliseconds that the other side gets to end its side, before ours ends without. */
const CLOSE_TIMEOUT_MS = 3_000
/** Most characters of a reason. */
const MAX_REASON_CHARACTERS = 1000
export interface ChannelOptions {
  readonly iceServers: readonly IceServer[]
  /** The address of this machine to use; default: all of them. Not in browsers, which choose themselves. */
  readonly bindAddress?: string
  readonly signal: AbortSignal
}

/** What the two sides tell each other to find one another. */
export interface Exchange {
  send(description: Description): Promise<void>
  /** The other side's next description, which must be of this type. */
  next<T extends Description['type']>(type: T): Promise<Description & { readonly type: T }>
}
export type Description =
  | { readonly type: 'offer' | 'answer'; readonly sdp: string }
  | { readonly type: 'candidates'; readonly candidates: readonly string[] }

export interface ChannelConnection extends Connection {
  /** Resolves when nothing of it is left. */
  readonly gone: Promise<void>
}

/**
 * Opens a channel. The dialling side offers without saying where it is, and says so when it has used the answer: one that is found
 * before that fails, since it cannot know whom it speaks to. Rejects with what `signal` says, or with `ConnectionError`.
 */
export async function openChannel(
  side: 'dialer' | 'listener',
  exchange: Exchange,
  { iceServers, bindAddress, signal }: ChannelOptions,
): Promise<ChannelConnection> {
  const Peer = await peerConnections()
  signal.throwIfAborted()
  const configuration = { iceServers: iceServers.map(server => ({ ...server })), bindAddress }
  const peer = new Peer(configuration as RTCConfiguration)
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
    peer.addEventListener('connectionstatechange', () => {
      if (stateOf(peer) === 'failed') reject(new ConnectionError('no way leads from one to the other'))
    })
  })
  stopped.catch(() => {})
  const dialled = async (): Promise<ChannelConnection> => {
    const opened = channelConnection(peer, peer.createDataChannel('prismal', { ordered: true }))
    await describe(peer, await peer.createOffer())
    const lines = (await described(peer)).split('\r\n')
    const isPlace = (line: string): boolean => /^a=(candidate|end-of-candidates)/.test(line)
    await exchange.send({ type: 'offer', sdp: lines.filter(line => !isPlace(line)).join('\r\n') })
    const { sdp } = await exchange.next('answer')
    await peer.setRemoteDescription({ type: 'answer', sdp })
    const candidates = lines.filter(line => line.startsWith('a=candidate')).map(line => line.slice('a='.length))
    await exchange.send({ type: 'candidates', candidates })
    return opened
  }
  const answered = async (): Promise<ChannelConnection> => {
    const opened = new Promise<RTCDataChannel>(resolve => {
      peer.addEventListener('datachannel', ({ channel }) => resolve(channel))
    }).then(channel => channelConnection(peer, channel))
    const { sdp } = await exchange.next('offer')
    await peer.setRemoteDescription({ type: 'offer', sdp })
    await describe(peer, await peer.createAnswer())
    await exchange.send({ type: 'answer', sdp: await described(peer) })
    const { candidates } = await exchange.next('candidates')
    const sdpMid = /^a=mid:(\S+)/m.exec(sdp)?.[1] ?? '0'
    for (const candidate of candidates) await peer.addIceCandidate({ candidate, sdpMid })
    return opened
  }
  try {
    return await Promise.race([side === 'dialer' ? dialled() : answered(), stopped])
  } catch (error) {
    letGo(peer)
    throw error
  }
}

/** Makes it this side's description, where it is not yet: node-datachannel has begun by itself, and may not begin twice. */
async function describe(peer: RTCPeerConnection, description: RTCSessionDescriptionInit): Promise<void> {
  if (!peer.localDescription?.sdp) await peer.setLocalDescription(description)
}

/** This side's description once all its candidates are in it. */
async function described(peer: RTCPeerConnection): Promise<string> {
  if (peer.iceGatheringState !== 'complete')
    await new Promise<void>(resolve => {
      peer.addEventListener('icegatheringstatechange', () => peer.iceGatheringState === 'complete' && resolve())
    })
  const sdp = peer.localDescription?.sdp
  if (!sdp) throw new ConnectionError('this side has no description of itself')
  return sdp
}

/** A closed peer has no state in node-datachannel. */
function stateOf(peer: RTCPeerConnection): string {
  try {
    return peer.connectionState
  } catch {
    return 'closed'
  }
}

const LINGER_MS = 100

/** Peers that are closing: a thread must not end before the library has let go of them. */
const closing = new Set<Promise<unknown>>()

/** Resolves when nothing is left of connections that were closed. */
export async function allGone(): Promise<void> {
  if (closing.size === 0) return
  while (closing.size > 0) await Promise.all(closing)
  // The library's own threads finish what they do a moment after they have said that it is over, and cannot be asked.
  await new Promise(resolve => setTimeout(resolve, LINGER_MS))
}

/** Closes a peer and its channel, and keeps in mind that it takes a moment. */
function letGo(peer: RTCPeerConnection, channel?: RTCDataChannel): void {
  const told = (target: EventTarget, event: string, isOver: () => boolean): Promise<void> =>
    new Promise(resolve => {
      if (isOver()) resolve()
      target.addEventListener(event, () => isOver() && resolve())
    })
  const over = Promise.all([
    told(peer, 'connectionstatechange', () => stateOf(peer) === 'closed'),
    ...(channel ? [told(channel, 'close', () => channel.readyState === 'closed')] : []),
  ])
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<void>(resolve => {
    timer = setTimeout(resolve, CLOSE_TIMEOUT_MS)
  })
  const gone = Promise.race([over, late]).finally(() => {
    clearTimeout(timer)
    closing.delete(gone)
  })
  closing.add(gone)
  peer.close()
}

/** Resolves once the channel is open. */
function channelConnection(peer: RTCPeerConnection, channel: RTCDataChannel): Promise<ChannelConnection> {
  let resolveGone: () => void
  const gone = new Promise<void>(resolve => {
    resolveGone = resolve
  })
  let timer: ReturnType<typeof setTimeout> | undefined
  const end = (reason: string): void => {
    clearTimeout(timer)
    connection.end(reason)
    letGo(peer, channel)
    resolveGone()
  }
  const connection = new SocketConnection({
    maxMessageBytes: MAX_MESSAGE_BYTES,
    fullBytes: FULL_BYTES,
    send: message => channel.send(message as Uint8Array<ArrayBuffer>),
    bufferedBytes: () => channel.bufferedAmount,
    drained: () =>
      new Promise(resolve => channel.addEventListener('bufferedamountlow', () => resolve(), { once: true })),
    // A channel's end has no reason of its own: it is the one text that is ever sent. Who gets it ends both sides.
    close(reason) {
      timer = setTimeout(() => end(reason), CLOSE_TIMEOUT_MS)
      try {
        channel.send(reason.slice(0, MAX_REASON_CHARACTERS))
      } catch {
        end(reason)
      }
    },
  })
  channel.binaryType = 'arraybuffer'
  channel.bufferedAmountLowThreshold = LOW_BYTES
  channel.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') end(data.slice(0, MAX_REASON_CHARACTERS))
    else connection.arrive(new Uint8Array(data as ArrayBuffer))
  })
  channel.addEventListener('close', () => end('the connection broke'))
  channel.addEventListener('error', event => end(`the connection broke: ${(event as RTCErrorEvent).error?.message}`))
  peer.addEventListener('connectionstatechange', () => {
    const state = stateOf(peer)
    if (state === 'failed' || state === 'closed') end('the connection broke')
  })
  return new Promise(resolve => {
    const ready = (): void => resolve(Object.assign(connection, { gone }))
    if (channel.readyState === 'open') ready()
    else channel.addEventListener('open', ready)
  })
}

/** The platform's class, or that of `node-datachannel`. */
async function peerConnections(): Promise<typeof RTCPeerConnection> {
  if (typeof globalThis.RTCPeerConnection === 'function') return globalThis.RTCPeerConnection
  const isLoaded = isLoadedHere()
  const purpose = 'a connection over WebRTC in Node'
  const polyfill = await optionalPackage<{ readonly RTCPeerConnection: typeof RTCPeerConnection }>(
    'node-datachannel/polyfill',
    purpose,
  )
  const threads = globalThis.process?.getBuiltinModule?.('node:worker_threads')
  if (!isLoaded && threads?.isMainThread === false) {
    // A thread that ends with connections open would end the process. (One that is terminated still does: close first.)
    const { cleanup } = await optionalPackage<{ readonly cleanup: () => void }>('node-datachannel', purpose)
    process.once('exit', cleanup)
  }
  return polyfill.RTCPeerConnection
}

/**
 * Whether this thread has loaded the package. It keeps objects of the first thread that does, and the process ends when another
 * uses it: that throws `ConnectionError`.
 */
function isLoadedHere(): boolean {
  const isBinary = (path: string): boolean => /node[_-]datachannel.*\.node$/.test(path)
  const { createRequire } = globalThis.process?.getBuiltinModule?.('node:module') ?? {}
  const here = Object.keys(createRequire?.(import.meta.url).cache ?? {})
  if (here.some(isBinary)) return true
  const { sharedObjects = [] } = (globalThis.process?.report?.getReport() ?? {}) as {
    sharedObjects?: readonly string[]
  }
  if (sharedObjects.some(isBinary))
    throw new ConnectionError(
      'another thread of this process has used node-datachannel, which works in one thread of a process only',
    )
  return false
}
