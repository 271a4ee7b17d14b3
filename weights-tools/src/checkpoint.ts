/** What every reader gives and every converter takes: named tensors whose bytes are made only when asked for. */
import { CheckpointError, ConversionError } from './errors.js'

/** Bytes of one element, by the names that safetensors uses. */
export const ELEMENT_BYTES = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const

/** An element type, by its safetensors name. */
export type Dtype = keyof typeof ELEMENT_BYTES

/** A run of elements in memory that tensors are views of. `bytes` unpacks it, checked. */
export interface Storage {
  readonly dtype: Dtype
  /** Elements. */
  readonly length: number
  readonly bytes: () => Uint8Array
}

/** A strided view of a storage; offset and strides count elements. */
export interface CheckpointTensor {
  readonly storage: Storage
  readonly shape: readonly number[]
  readonly strides: readonly number[]
  readonly offset: number
}

/** Tensors by name. */
export type StateDict = ReadonlyMap<string, CheckpointTensor>

/** Elements of a shape. */
export function elementsOf(shape: readonly number[]): number {
  // Asked first, so that a damaged shape cannot make 0 · ∞.
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1)
}

/** Strides, in elements, of a row-major tensor. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i]!
  }
  return strides
}

/** Dimensions of a tensor. More is a damaged file: PyTorch itself stops at 64. */
const MOST_DIMENSIONS = 64

/**
 * Makes a view after checking that every element lies inside the storage and that there are not more elements than the
 * storage has (an expanded view of a few bytes could otherwise ask for any amount of memory).
 * Throws `CheckpointError`.
 */
export function view(
  storage: Storage,
  shape: readonly number[],
  strides: readonly number[] = rowMajorStrides(shape),
  offset = 0,
): CheckpointTensor {
  const say = () => `view [${shape}], strides [${strides}], offset ${offset} of ${storage.length} elements`
  if (shape.length !== strides.length) throw new CheckpointError(`${say()}: shape and strides differ in length`)
  if (shape.length > MOST_DIMENSIONS) throw new CheckpointError(`a tensor of ${shape.length} dimensions`)
  if (![...shape, ...strides, offset].every(value => Number.isSafeInteger(value) && value >= 0))
    throw new CheckpointError(`${say()}: sizes must be whole and not negative`)
  const elements = elementsOf(shape)
  if (elements > storage.length) throw new CheckpointError(`${say()}: more elements than the storage has`)
  const last = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, offset)
  if (elements > 0 && last >= storage.length) throw new CheckpointError(`${say()}: reaches beyond the storage`)
  return { storage, shape, strides, offset }
}

/** The tensor's elements in row-major order, little-endian. A view where the storage already has them so. */
export function contiguousBytes(tensor: CheckpointTensor): Uint8Array {
  const { storage, shape, strides, offset } = tensor
  const width = ELEMENT_BYTES[storage.dtype]
  const elements = elementsOf(shape)
  const from = storage.bytes()
  const natural = rowMajorStrides(shape)
  // A dimension of one is never stepped along, so its stride may be anything.
  if (elements === 0 || shape.every((size, i) => size === 1 || strides[i] === natural[i]))
    return from.subarray(offset * width, (offset + elements) * width)
  const to = new Uint8Array(elements * width)
  const index = new Array<number>(shape.length).fill(0)
  let at = offset
  for (let written = 0; written < to.length; written += width) {
    for (let b = 0; b < width; b++) to[written + b] = from[at * width + b]!
    // Counts up like an odometer, the last dimension fastest.
    for (let i = shape.length - 1; i >= 0; i--) {
      at += strides[i]!
      if (++index[i]! < shape[i]!) break
      at -= strides[i]! * shape[i]!
      index[i] = 0
    }
  }
  return to
}

/**
 * Takes a model's tensors out of a state dict one by one: asks for each by name and shape, and in the end that none is
 * left, so that nothing a checkpoint holds is ever dropped in silence.
 */
export class Taker {
  readonly #left: Map<string, CheckpointTensor>
  constructor(tensors: StateDict) {
    this.#left = new Map(tensors)
  }

  /** Whether a tensor of that name is there and not yet taken. */
  has(name: string): boolean {
    return this.#left.has(name)
  }

  /** The shape of a tensor of `dimensions` dimensions that must be there. Throws `ConversionError`. */
  shape(name: string, dimensions: number): readonly number[] {
    const tensor = this.#left.get(name)
    if (!tensor) throw new ConversionError(`the checkpoint has no ${name}`)
    if (tensor.shape.length !== dimensions)
      throw new ConversionError(`${name} is [${tensor.shape}], expected ${dimensions} dimensions`)
    return tensor.shape
  }

  /** Takes a tensor of exactly this shape, as row-major storage. Throws `ConversionError`. */
  take(name: string, shape: readonly number[]): Storage {
    const tensor = this.#left.get(name)
    if (!tensor) throw new ConversionError(`the checkpoint has no ${name}`)
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i]))
      throw new ConversionError(`${name} is [${tensor.shape}], expected [${shape}]`)
    this.#left.delete(name)
    return { dtype: tensor.storage.dtype, length: elementsOf(shape), bytes: () => contiguousBytes(tensor) }
  }

  /** Throws `ConversionError` that names what nobody took. */
  finish(): void {
    const names = [...this.#left.keys()]
    if (names.length === 0) return
    const shown = names.slice(0, 5).join(', ')
    throw new ConversionError(
      `no place in the model for ${names.length} tensor${names.length > 1 ? 's' : ''} of the checkpoint: ` +
        `${shown}${names.length > 5 ? ', …' : ''}`,
    )
  }
}

/** What a converter makes: the files of a Hugging Face folder. */
export interface ConvertedModel {
  readonly tensors: StateDict
  /** JSON files by name; `config.json` is always one of them. */
  readonly files: Readonly<Record<string, unknown>>
}
