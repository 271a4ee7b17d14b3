/** SHA-256, by the runtime or by hand: pages that came by plain HTTP have no WebCrypto. */

/** The digest of `bytes`, as hex. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined
  const digest = subtle ? new Uint8Array(await subtle.digest('SHA-256', bytes)) : digestOf(bytes)
  return Array.from(digest, b => b.toString(16).padStart(2, '0')).join('')
}

/** @internal By hand: FIPS 180-4, section 6.2; `sha256` takes the runtime's where there is one. */
export function digestOf(bytes: Uint8Array): Uint8Array {
  const { state, constants } = initial()
  const padded = new Uint8Array((bytes.length + 9 + 63) & ~63)
  padded.set(bytes)
  padded[bytes.length] = 0x80
  const view = new DataView(padded.buffer)
  view.setBigUint64(padded.length - 8, 8n * BigInt(bytes.length))
  const w = new Int32Array(64)
  for (let block = 0; block < padded.length; block += 64) {
    for (let t = 0; t < 16; t++) w[t] = view.getInt32(block + 4 * t)
    for (let t = 16; t < 64; t++) {
      const [x, y] = [w[t - 15] as number, w[t - 2] as number]
      const s0 = turned(x, 7) ^ turned(x, 18) ^ (x >>> 3)
      const s1 = turned(y, 17) ^ turned(y, 19) ^ (y >>> 10)
      w[t] = (w[t - 16] as number) + s0 + (w[t - 7] as number) + s1
    }
    let turns = [...state]
    for (let t = 0; t < 64; t++) {
      const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = turns
      const s1 = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)
      const one = h + s1 + ((e & f) ^ (~e & g)) + (constants[t] as number) + (w[t] as number)
      const s0 = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)
      turns = [(one + s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0, a, b, c, (d + one) | 0, e, f, g]
    }
    for (const [i, x] of turns.entries()) state[i] = (state[i] as number) + x
  }
  const out = new DataView(new ArrayBuffer(32))
  for (const [i, x] of state.entries()) out.setInt32(4 * i, x)
  return new Uint8Array(out.buffer)
}

const turned = (x: number, by: number): number => (x >>> by) | (x << (32 - by))

/** Fractions of square roots of the first 8 primes, and of cube roots of the first 64, in 32 bits. */
function initial(): { state: Int32Array; constants: Int32Array } {
  const primes: number[] = []
  for (let n = 2; primes.length < 64; n++) if (primes.every(p => n % p !== 0)) primes.push(n)
  const fraction = (x: number): number => ((x % 1) * 2 ** 32) | 0
  return {
    state: Int32Array.from(primes.slice(0, 8), p => fraction(p ** (1 / 2))),
    constants: Int32Array.from(primes, p => fraction(p ** (1 / 3))),
  }
}
