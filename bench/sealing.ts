/** `npx tsx bench/sealing.ts`: what encryption costs, a packet at a time and a round trip over a web-socket of this machine. */
import { type Connection, handshake, Secret } from '@prismal/distribute'
import { transport } from '@prismal/distribute/transports/web-socket'
import { aesGcm, type MakeCipher, syncCipher, webCipher } from '../packages/distribute/src/aes-gcm.js'
import { type Contestant, takeTurns } from './measure.js'

const ROUNDS = { rounds: 15, turnMs: 60, turnRuns: 10 }
const SIZES = [
  ['34 kB', 34_000],
  ['256 KiB', 1 << 18],
  ['1 MiB', 1 << 20],
] as const
const key = (n: number) => new Uint8Array(32).fill(n)

async function sealing(name: string, cipher: MakeCipher, bytes: number): Promise<Contestant> {
  const a = await aesGcm({ sending: key(1), receiving: key(2), cipher })
  const z = await aesGcm({ sending: key(2), receiving: key(1), cipher })
  const [header, body] = [new Uint8Array(12), new Uint8Array(bytes)]
  return { name, isAsync: true, run: async () => z.open(header, await a.seal(header, body)) }
}

/** Messages of that size there and back over loopback, in one process. */
async function roundTrip(name: string, bytes: number, secret?: Secret): Promise<Contestant & { close(): void }> {
  const options = secret ? { secret } : {}
  const accepted: Promise<Connection>[] = []
  const listener = await transport.listen('ws://127.0.0.1:0', ({ connection }) => {
    accepted.push(handshake(connection, 'listener', options))
  })
  const dialled = await handshake(await transport.dial(listener.address), 'dialer', options)
  const far = (await accepted[0]) as Connection
  far.receive(message => far.send(message))
  let back: () => void = () => {}
  dialled.receive(() => back())
  const message = new Uint8Array(bytes)
  return {
    name,
    isAsync: true,
    run: () =>
      new Promise<void>(resolve => {
        back = resolve
        // The bytes belong to the transport.
        void dialled.send(message.slice())
      }),
    close: () => {
      dialled.close()
      void listener.close()
    },
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number
const microseconds = (ms: number): string => `${(ms * 1000).toFixed(0)} µs`

async function compare(title: string, bytes: number, contestants: readonly Contestant[]): Promise<void> {
  const turns = await takeTurns(contestants, ROUNDS)
  for (const [i, { name }] of contestants.entries()) {
    const ms = median(turns[i] as readonly number[])
    const rate = bytes > 0 ? `  ${(bytes / ms / 1e6).toFixed(2)} GB/s` : ''
    console.log(`${title.padEnd(24)}${name.padEnd(12)}${microseconds(ms).padStart(9)}${rate}`)
  }
}

const node = syncCipher()
console.log(`Node ${process.version}; medians of ${ROUNDS.rounds} turns`)
for (const [size, bytes] of SIZES)
  await compare(`seal and open ${size}`, bytes, [
    await sealing('WebCrypto', webCipher, bytes),
    ...(node ? [await sealing('Node', node, bytes)] : []),
  ])
const secret = Secret.create()
for (const [size, bytes] of SIZES) {
  const trips = [await roundTrip('in the clear', bytes), await roundTrip('sealed', bytes, secret)]
  await compare(`there and back ${size}`, 2 * bytes, trips)
  for (const trip of trips) trip.close()
}
const meet = async (options: { readonly secret?: Secret }): Promise<void> => {
  const trip = await roundTrip('', 1, options.secret)
  trip.close()
}
await compare('connect', 0, [
  { name: 'in the clear', isAsync: true, run: () => meet({}) },
  { name: 'sealed', isAsync: true, run: () => meet({ secret }) },
])
