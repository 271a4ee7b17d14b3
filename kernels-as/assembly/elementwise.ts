// Functions of one element, and the sum of two. What is left over of four goes through a padded vector: the same bits.
import { Lanes } from './lanes'
import { Functions } from './math'

export function gelu(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, Functions.gelu(v128.load(x)))
    x += 16
    out += 16
  }
  if (count) Lanes.storePart(out, Functions.gelu(Lanes.loadPart(x, count)), count)
}

export function geluTanh(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, Functions.geluTanh(v128.load(x)))
    x += 16
    out += 16
  }
  if (count) Lanes.storePart(out, Functions.geluTanh(Lanes.loadPart(x, count)), count)
}

export function tanh(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, Functions.tanh(v128.load(x)))
    x += 16
    out += 16
  }
  if (count) Lanes.storePart(out, Functions.tanh(Lanes.loadPart(x, count)), count)
}

export function relu(x: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, Functions.relu(v128.load(x)))
    x += 16
    out += 16
  }
  if (count) Lanes.storePart(out, Functions.relu(Lanes.loadPart(x, count)), count)
}

export function add(x: usize, y: usize, out: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    v128.store(out, f32x4.add(v128.load(x), v128.load(y)))
    x += 16
    y += 16
    out += 16
  }
  if (count) Lanes.storePart(out, f32x4.add(Lanes.loadPart(x, count), Lanes.loadPart(y, count)), count)
}
