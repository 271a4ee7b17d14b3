/** Tensors, and the scopes that own their memory. */
import type { Engine } from './engine.js'
import { DisposedError, OperandError } from './errors.js'

export type Dtype = 'f32' | 'f16' | 'i32' | 'i8' | 'u8'
export type TypedArray = Float32Array | Uint16Array | Int32Array | Int8Array | Uint8Array

export const BYTES_PER_ELEMENT: Readonly<Record<Dtype, number>> = { f32: 4, f16: 2, i32: 4, i8: 1, u8: 1 }
type ArrayType = new (buffer: ArrayBufferLike, at: number, length: number) => TypedArray
const ARRAYS: Readonly<Record<Dtype, ArrayType>> = {
  f32: Float32Array as ArrayType,
  f16: Uint16Array as ArrayType,
  i32: Int32Array as ArrayType,
  i8: Int8Array as ArrayType,
  u8: Uint8Array as ArrayType,
}

/** Counts floating-point operations as operations execute them. */
export interface Meter {
  count(flops: number): void
}

/** A range of the engine's memory, owned by one scope at a time. */
class Storage {
  readonly at: number
  readonly bytes: number
  scope: Scope | undefined
  constructor(at: number, bytes: number, scope: Scope) {
    this.at = at
    this.bytes = bytes
    this.scope = scope
  }
}

/**
 * A dense array in an engine's memory, row-major. Its last dimension is contiguous; rows of a column view lie
 * `rowStride` elements apart. f16 values are held as their bits.
 */
export class Tensor {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Elements from one row to the next. */
  readonly rowStride: number
  readonly #storage: Storage
  readonly #byteOffset: number

  /** @internal Tensors are made by scopes, engines and operations. */
  constructor(storage: Storage, dtype: Dtype, shape: readonly number[], byteOffset = 0, rowStride?: number) {
    this.#storage = storage
    this.dtype = dtype
    this.shape = shape
    this.#byteOffset = byteOffset
    this.rowStride = rowStride ?? this.columns
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1)
  }
  /** All dimensions but the last, multiplied. */
  get rows(): number {
    return this.shape.slice(0, -1).reduce((a, b) => a * b, 1)
  }
  /** The last dimension. */
  get columns(): number {
    return this.shape[this.shape.length - 1] ?? 1
  }
  /** Byte offset in the engine's memory, for kernels. Throws {@link DisposedError} once the memory was given back. */
  get address(): number {
    return this.#alive.storage.at + this.#byteOffset
  }
  /** The scope that owns the memory. */
  get scope(): Scope {
    return this.#alive.scope
  }
  get engine(): Engine {
    return this.scope.engine
  }
  get disposed(): boolean {
    return this.#storage.scope === undefined
  }
  get contiguous(): boolean {
    return this.rowStride === this.columns || this.rows <= 1
  }

  get #alive(): { storage: Storage; scope: Scope } {
    const scope = this.#storage.scope
    if (!scope) throw new DisposedError(`tensor [${this.shape.join(',')}] was used after its memory was given back`)
    return { storage: this.#storage, scope }
  }

  /** A copy of the values: f32 → Float32Array, f16 → Uint16Array (bits), i32, i8, u8 → theirs. */
  data(): TypedArray {
    const array = ARRAYS[this.dtype]
    const { engine } = this
    if (engine.rehearses) return new array(new ArrayBuffer(this.size * BYTES_PER_ELEMENT[this.dtype]), 0, this.size)
    const { buffer } = engine.memory
    if (this.contiguous) return new array(buffer, this.address, this.size).slice()
    const out = new array(new ArrayBuffer(this.size * BYTES_PER_ELEMENT[this.dtype]), 0, this.size)
    const step = this.rowStride * BYTES_PER_ELEMENT[this.dtype]
    for (let r = 0; r < this.rows; r++)
      out.set(new array(buffer, this.address + r * step, this.columns), r * this.columns)
    return out
  }

  /** The values as Float32Array (a copy). Throws {@link OperandError} for another dtype. */
  floats(): Float32Array {
    if (this.dtype !== 'f32') throw new OperandError(`floats: the tensor holds ${this.dtype}, not f32`)
    return this.data() as Float32Array
  }

  /** Rows [from, to) of a [rows, columns] tensor, sharing its memory. */
  slice(from: number, to: number): Tensor {
    const rows = this.rows
    if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= rows))
      throw new OperandError(`slice: rows ${from}…${to} do not lie within the ${rows} rows of ${describe(this)}`)
    const offset = this.#byteOffset + from * this.rowStride * BYTES_PER_ELEMENT[this.dtype]
    return new Tensor(this.#alive.storage, this.dtype, [to - from, this.columns], offset, this.rowStride)
  }

  /** Columns [from, to) of every row, sharing its memory. */
  slab(from: number, to: number): Tensor {
    if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= this.columns))
      throw new OperandError(`slab: columns ${from}…${to} do not lie within those of ${describe(this)}`)
    const offset = this.#byteOffset + from * BYTES_PER_ELEMENT[this.dtype]
    return new Tensor(this.#alive.storage, this.dtype, [this.rows, to - from], offset, this.rowStride)
  }

  /** The same values under another shape of the same size, sharing memory. */
  reshape(shape: readonly number[]): Tensor {
    if (!this.contiguous) throw new OperandError(`reshape: ${describe(this)} is a view of columns, not contiguous`)
    const view = new Tensor(this.#alive.storage, this.dtype, [...shape], this.#byteOffset)
    if (view.size !== this.size) throw new OperandError(`reshape: ${describe(this)} has not the size of [${shape}]`)
    return view
  }

  /** Overwrites the values from `from` rows on. */
  write(values: ArrayLike<number>, fromRow = 0): void {
    if (!this.contiguous) throw new OperandError(`write: ${describe(this)} is a view of columns, not contiguous`)
    const at = fromRow * this.columns
    if (!(Number.isInteger(fromRow) && fromRow >= 0 && at + values.length <= this.size))
      throw new OperandError(`write: ${values.length} values from row ${fromRow} do not fit ${describe(this)}`)
    const { engine } = this
    if (engine.rehearses) return
    new ARRAYS[this.dtype](engine.memory.buffer, this.address, this.size).set(values, at)
  }

  /** Overwrites rows from `fromRow` on with those of another tensor of the same engine, dtype and columns. */
  copyFrom(source: Tensor, fromRow = 0): void {
    const { engine } = this
    const isFit = source.dtype === this.dtype && source.columns === this.columns && source.engine === engine
    if (!(isFit && this.contiguous))
      throw new OperandError(`copyFrom: ${describe(source)} cannot be copied into rows of ${describe(this)}`)
    if (!(Number.isInteger(fromRow) && fromRow >= 0 && fromRow + source.rows <= this.rows))
      throw new OperandError(`copyFrom: ${source.rows} rows from row ${fromRow} do not fit ${describe(this)}`)
    if (engine.rehearses) return
    const width = BYTES_PER_ELEMENT[this.dtype]
    const bytes = new Uint8Array(engine.memory.buffer)
    const row = this.columns * width
    const [target, from] = [this.address + fromRow * row, source.address]
    if (source.contiguous) bytes.copyWithin(target, from, from + source.rows * row)
    else {
      const step = source.rowStride * width
      for (let r = 0; r < source.rows; r++) bytes.copyWithin(target + r * row, from + r * step, from + r * step + row)
    }
  }

  /** Gives the memory back now rather than with its scope; views of it die too. Twice is harmless. */
  dispose(): void {
    const scope = this.#storage.scope
    if (scope) scope[RELEASE](this.#storage)
  }
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal Moves the memory to another scope of the same engine. */
  moveTo(scope: Scope): this {
    const { storage, scope: from } = this.#alive
    from[MOVE](storage, scope)
    return this
  }
}

const RELEASE = Symbol('release')
const MOVE = Symbol('move')

/**
 * Owns tensors: what is made in a scope is given back by its `dispose()`, children included. The result of an operation
 * belongs to the scope of its first operand.
 */
export class Scope {
  readonly engine: Engine
  readonly meter: Meter | undefined
  readonly #parent: Scope | undefined
  readonly #children = new Set<Scope>()
  readonly #owned = new Set<Storage>()
  #disposed = false

  /** @internal Use `engine.scope()` or `scope.child()`. */
  constructor(engine: Engine, parent?: Scope, meter?: Meter) {
    this.engine = engine
    this.#parent = parent
    this.meter = meter ?? parent?.meter
  }

  get disposed(): boolean {
    return this.#disposed
  }

  /** A scope that dies with this one, if not before. */
  child(meter?: Meter): Scope {
    this.#check()
    const scope = new Scope(this.engine, this, meter)
    this.#children.add(scope)
    return scope
  }

  /** A tensor whose values are undefined until they are written. Throws `MemoryError`. */
  empty(shape: readonly number[], dtype: Dtype = 'f32'): Tensor {
    this.#check()
    if (!Object.hasOwn(BYTES_PER_ELEMENT, dtype))
      throw new OperandError(
        `tensor: dtype ${JSON.stringify(dtype)} is not one of ${Object.keys(BYTES_PER_ELEMENT).join(', ')}`,
      )
    for (const n of shape)
      if (!(Number.isInteger(n) && n >= 0)) throw new OperandError(`tensor: [${shape}] is not a shape`)
    const bytes = shape.reduce((a, b) => a * b, 1) * BYTES_PER_ELEMENT[dtype]
    const storage = new Storage(this.engine.arena.allocate(bytes), bytes, this)
    this.#owned.add(storage)
    return new Tensor(storage, dtype, [...shape])
  }

  /** A tensor of these values; dtype follows the array (Uint16Array: f16 bits) unless given. */
  tensor(values: TypedArray | readonly number[], shape: readonly number[], dtype?: Dtype): Tensor {
    const tensor = this.empty(shape, dtype ?? dtypeOf(values))
    if (tensor.size !== values.length) {
      tensor.dispose()
      throw new OperandError(`tensor: ${values.length} values for shape [${shape}], which has ${tensor.size}`)
    }
    tensor.write(values)
    return tensor
  }

  /**
   * One step of a computation: runs `step` on `x` in a scope of its own, gives back everything it made and `x` itself,
   * and keeps only the result. Peak memory is then one step's, not the sum of all.
   */
  async step(x: Tensor, step: (x: Tensor) => Promise<Tensor>): Promise<Tensor> {
    const inner = this.child()
    try {
      return (await step(x.moveTo(inner))).moveTo(this)
    } finally {
      inner.dispose()
    }
  }

  /** Gives everything back. Twice is harmless. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const child of this.#children) child.dispose()
    for (const storage of this.#owned) this[RELEASE](storage)
    if (this.#parent) this.#parent.#children.delete(this)
  }
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal */
  [RELEASE](storage: Storage): void {
    this.#owned.delete(storage)
    storage.scope = undefined
    this.engine.arena.release(storage.at, storage.bytes)
  }
  /** @internal */
  [MOVE](storage: Storage, to: Scope): void {
    to.#check()
    if (to.engine !== this.engine) throw new OperandError('a tensor cannot move to another engine')
    this.#owned.delete(storage)
    to.#owned.add(storage)
    storage.scope = to
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError('this scope was disposed; nothing can be made in it')
  }
}

const dtypeOf = (values: TypedArray | readonly number[]): Dtype => {
  if (values instanceof Int32Array) return 'i32'
  if (values instanceof Uint16Array) return 'f16'
  if (values instanceof Int8Array) return 'i8'
  if (values instanceof Uint8Array) return 'u8'
  return 'f32'
}

/** How errors name a tensor: `f32 [197,768]`. */
export const describe = (x: Tensor): string => `${x.dtype} [${x.shape.join(',')}]`
