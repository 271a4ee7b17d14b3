/** What the reference kernels compute with: layouts, activations in float64, and half floats. */
import { type Activation, PANEL } from '@prismal/kernels/catalogue'

/** Elements from the first of `count` items that lie `stride` apart to the end of the last, each `width` long. */
export const spanned = (count: number, stride: number, width: number): number =>
  count > 0 ? (count - 1) * stride + width : 0

/** Where element (p, j) of a k-row matrix lies once packed into panels [⌈n/8⌉][k][8]. */
export const packedIndex = (p: number, j: number, k: number): number =>
  Math.floor(j / PANEL) * k * PANEL + p * PANEL + (j % PANEL)

export const activations: Readonly<Record<Activation, (x: number) => number>> = {
  none: x => x,
  gelu: x => (x > 0 ? x - (x / 2) * erfc(x * Math.SQRT1_2) : (x / 2) * erfc(-x * Math.SQRT1_2)),
  'gelu-tanh': x => x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: x => Math.max(x, 0),
  tanh: Math.tanh,
}

/** 1 − erf(z) for z ≥ 0 within 1e-12 (relative): a series of positive terms near 0, a continued fraction beyond. */
function erfc(z: number): number {
  const bell = Math.exp(-z * z) / Math.sqrt(Math.PI)
  if (z < 2) {
    let term = z // z · (2z²)^i / (1·3·5…(2i+1)), NIST DLMF 7.6.2
    let sum = 0
    for (let i = 1; term > sum * 1e-17; i++) {
      sum += term
      term *= (2 * z * z) / (2 * i + 1)
    }
    return 1 - 2 * bell * sum
  }
  let fraction = z // z + (1/2)/(z + (2/2)/(z + (3/2)/(z + …))), NIST DLMF 7.9.1
  for (let i = 100; i > 0; i--) fraction = z + i / 2 / fraction
  return bell / fraction
}

/** The integer nearest to x, the even one of two equally near. */
export function nearestEven(x: number): number {
  const below = Math.floor(x)
  const above = x - below
  if (above === 0.5) return below % 2 === 0 ? below : below + 1
  return above < 0.5 ? below : below + 1
}

/** The f32 of the same value as an IEEE binary16 (1 sign, 5 exponent, 10 mantissa bits), as bits. */
export function f32BitsOfF16(bits: number): number {
  const sign = (bits & 0x8000) << 16
  const exponent = (bits >> 10) & 31
  const mantissa = bits & 0x3ff
  if (exponent === 31) return sign | 0x7f800000 | (mantissa << 13)
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (mantissa << 13)
  return sign | bitsOf(mantissa * 2 ** -24)
}

/** IEEE binary16 bits of the value nearest to x, ties to even; ±infinity from 65520 on; any NaN becomes a quiet one. */
export function f16BitsOf(x: number): number {
  const sign = (bitsOf(x) >>> 16) & 0x8000
  const size = Math.abs(x)
  if (Number.isNaN(x)) return sign | 0x7e00
  if (size >= 65520) return sign | 0x7c00
  // A binade [2^e, 2^(e+1)) has 1024 values; below 2^-14 the step stays that of the lowest binade.
  const exponent = Math.max(-14, (bitsOf(size) >>> 23) - 127)
  const steps = nearestEven(size / 2 ** (exponent - 10))
  return sign | (((exponent + 14) << 10) + steps) // steps is 1024 more than the mantissa of a normal value
}

function bitsOf(x: number): number {
  return new Uint32Array(new Float32Array([x]).buffer)[0]!
}
