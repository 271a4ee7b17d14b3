// Row-wise normalisation. A row is summed in one order, four lanes at a time, wherever it lies.
import { Lanes } from './lanes'
import { Functions } from './math'

/**
 * Two passes: the mean, then deviations from it. The second also sums the deviations themselves, which exact arithmetic
 * would make 0: what is left is the mean's own rounding error, and is taken out again.
 */
export function layerNorm(x: usize, gain: usize, bias: usize, out: usize, m: i32, width: i32, eps: f32): void {
  const whole = width & ~3
  const part = width & 3
  const row = (<usize>width) << 2
  const edge = (<usize>whole) << 2
  for (let i = 0; i < m; i++) {
    let sums = Lanes.zero()
    for (let at: usize = 0; at < edge; at += 16) sums = f32x4.add(sums, v128.load(x + at))
    if (part) sums = f32x4.add(sums, Lanes.loadPart(x + edge, part))
    const mean = f32x4.splat(Lanes.sum(sums) / <f32>width)

    let deviations = Lanes.zero()
    let squares = Lanes.zero()
    for (let at: usize = 0; at < edge; at += 16) {
      const deviation = f32x4.sub(v128.load(x + at), mean)
      deviations = f32x4.add(deviations, deviation)
      squares = Lanes.madd(deviation, deviation, squares)
    }
    if (part) {
      const deviation = v128.and(f32x4.sub(Lanes.loadPart(x + edge, part), mean), Lanes.before(part, 0))
      deviations = f32x4.add(deviations, deviation)
      squares = Lanes.madd(deviation, deviation, squares)
    }
    const left = Lanes.sum(deviations) / <f32>width
    const variance = Lanes.sum(squares) / <f32>width - left * left
    const rest = f32x4.splat(left)
    const inverse = f32x4.splat(1 / sqrt<f32>(max<f32>(variance, 0) + eps))

    for (let at: usize = 0; at < edge; at += 16) {
      const normed = f32x4.mul(f32x4.sub(f32x4.sub(v128.load(x + at), mean), rest), inverse)
      v128.store(out + at, Lanes.madd(normed, v128.load(gain + at), v128.load(bias + at)))
    }
    if (part) {
      const normed = f32x4.mul(f32x4.sub(f32x4.sub(Lanes.loadPart(x + edge, part), mean), rest), inverse)
      const scaled = Lanes.madd(normed, Lanes.loadPart(gain + edge, part), Lanes.loadPart(bias + edge, part))
      Lanes.storePart(out + edge, scaled, part)
    }
    x += row
    out += row
  }
}

export function softmax(x: usize, out: usize, m: i32, width: i32): void {
  const part = width & 3
  const row = (<usize>width) << 2
  const edge = (<usize>(width & ~3)) << 2
  for (let i = 0; i < m; i++) {
    let maximum: f32 = -Infinity
    let largest = f32x4.splat(maximum)
    for (let at: usize = 0; at < edge; at += 16) largest = f32x4.max(largest, v128.load(x + at))
    maximum = Lanes.max(largest)
    for (let at = edge; at < row; at += 4) maximum = max<f32>(maximum, load<f32>(x + at))
    const shift = f32x4.splat(maximum)

    let sums = Lanes.zero()
    for (let at: usize = 0; at < edge; at += 16) {
      const p = Functions.exp(f32x4.sub(v128.load(x + at), shift))
      v128.store(out + at, p)
      sums = f32x4.add(sums, p)
    }
    if (part) {
      const p = Functions.exp(f32x4.sub(Lanes.loadPart(x + edge, part), shift))
      Lanes.storePart(out + edge, p, part)
      sums = f32x4.add(sums, v128.and(p, Lanes.before(part, 0)))
    }

    const inverse = f32x4.splat(1 / Lanes.sum(sums))
    for (let at: usize = 0; at < edge; at += 16) v128.store(out + at, f32x4.mul(v128.load(out + at), inverse))
    if (part) Lanes.storePart(out + edge, f32x4.mul(Lanes.loadPart(out + edge, part), inverse), part)
    x += row
    out += row
  }
}
