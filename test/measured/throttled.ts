/** Devices behind links of a given latency and bandwidth: what they send waits in this thread as long as it would on a wire. */
import type { Connection, DeviceSource, Member } from '@prismal/distribute'
import { portConnection } from '@prismal/distribute/transports/message-port'

export interface Wire {
  readonly latencyMs: number
  readonly bitsPerSecond: number
}

/** What is late finds the connection closed: both sides have heard why. */
const gone = (): void => {}

/** The same device; whatever it sends to other devices takes a wire's time, one message after the other on each link. */
export function throttled(source: DeviceSource, wire: Wire): DeviceSource {
  return {
    name: source.name,
    async join(model, memory) {
      const member = await source.join(model, memory)
      return {
        ...member,
        link: (peer, end) => {
          if (!('port' in end)) return member.link(peer, end)
          const { port1, port2 } = new MessageChannel()
          pass(portConnection(port1), portConnection(end.port), wire)
          return member.link(peer, { port: port2 })
        },
      } satisfies Member
    },
  }
}

/** From the device slowly, to it at once. */
function pass(device: Connection, far: Connection, { latencyMs, bitsPerSecond }: Wire): void {
  let free = 0
  // Timers that are due in the same millisecond may fire in any order; a wire keeps it.
  const underWay: Uint8Array[] = []
  device.receive(message => {
    const now = performance.now()
    free = Math.max(now, free) + (message.length * 8000) / bitsPerSecond
    underWay.push(message)
    setTimeout(() => far.send(underWay.shift() as Uint8Array).catch(gone), free + latencyMs - now)
  })
  far.receive(message => device.send(message.slice()).catch(gone))
  void device.closed.then(reason => far.close(reason))
  void far.closed.then(reason => device.close(reason))
}
