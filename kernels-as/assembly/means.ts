// Segment means: what PRISM sends instead of rows.
import { Lanes } from './lanes'

/** out [r, width] = column means of the runs [from, to) of rows of x; a run's rows are summed in their order. */
export function segmentMeans(x: usize, runs: usize, out: usize, m: i32, r: i32, width: i32): void {
  const row = (<usize>width) << 2
  const edge = (<usize>(width & ~3)) << 2
  const part = width & 3
  for (let s = 0; s < r; s++) {
    const from = load<i32>(runs)
    const to = load<i32>(runs, 4)
    const count = f32x4.splat(<f32>(to - from))
    const first = x + <usize>from * row
    const end = x + <usize>to * row
    let at: usize = 0
    // 16 columns at a time are one cache line of each row.
    for (; at + 64 <= edge; at += 64) {
      let a = Lanes.zero()
      let b = Lanes.zero()
      let c = Lanes.zero()
      let d = Lanes.zero()
      for (let line = first + at; line < end; line += row) {
        a = f32x4.add(a, v128.load(line))
        b = f32x4.add(b, v128.load(line, 16))
        c = f32x4.add(c, v128.load(line, 32))
        d = f32x4.add(d, v128.load(line, 48))
      }
      v128.store(out + at, f32x4.div(a, count))
      v128.store(out + at, f32x4.div(b, count), 16)
      v128.store(out + at, f32x4.div(c, count), 32)
      v128.store(out + at, f32x4.div(d, count), 48)
    }
    for (; at < edge; at += 16) {
      let a = Lanes.zero()
      for (let line = first + at; line < end; line += row) a = f32x4.add(a, v128.load(line))
      v128.store(out + at, f32x4.div(a, count))
    }
    if (part) {
      let a = Lanes.zero()
      for (let line = first + at; line < end; line += row) a = f32x4.add(a, Lanes.loadPart(line, part))
      Lanes.storePart(out + at, f32x4.div(a, count), part)
    }
    runs += 8
    out += row
  }
}
