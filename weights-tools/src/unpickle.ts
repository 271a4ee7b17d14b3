/**
 * Reads pickles that hold a state dict, and nothing else.
 *
 * A pickle is a program for a stack machine that may call any importable function. Here it may only build numbers,
 * strings, lists, tuples and dicts, and name the few PyTorch functions in `GLOBALS`, which stand for code written below.
 * Any other name is refused where it is read, before anything is done with it. Nothing recurses, and every length is
 * checked against what is left of the file, so that a damaged file ends in a `CheckpointError`.
 *
 * Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py
 */
import { type CheckpointTensor, type Dtype, type Storage, view } from './checkpoint.js'
import { CheckpointError, RefusedGlobalError } from './errors.js'

/** A tensor found in a pickle. */
export class PickledTensor {
  constructor(readonly tensor: CheckpointTensor) {}
}

/** What a pickle may hold. Dicts (and OrderedDicts) become maps, tuples and lists arrays. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | Map<PickleKey, PickleValue>
  | PickledTensor
  | PickledStorage
  | Global
  | Mark
/** What may be a dict's key. */
export type PickleKey = string | number | boolean

/** A storage that a persistent id names; the archive's `data/<key>` holds its bytes. */
export interface StorageReference {
  readonly dtype: Dtype
  readonly key: string
  /** Elements. */
  readonly length: number
}

class PickledStorage {
  constructor(readonly storage: Storage) {}
}
/** One of the allowed globals, on the stack or in the memo. */
class Global {
  constructor(readonly name: string) {}
}
class Mark {}
const MARK = new Mark()

const STORAGE_TYPES: Readonly<Record<string, Dtype>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
}

/** Everything a pickle may name. */
const GLOBALS: ReadonlySet<string> = new Set([
  'collections.OrderedDict',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_parameter',
  ...Object.keys(STORAGE_TYPES),
])

const NEWEST_PROTOCOL = 5

/**
 * Reads one pickle.
 * @param bytes the pickle, from its first opcode; what follows its STOP is not looked at
 * @param load gives the storage that a persistent id names; throws where there is none
 * Throws `CheckpointError`, `RefusedGlobalError`.
 */
export function unpickle(bytes: Uint8Array, load: (reference: StorageReference) => Storage): PickleValue {
  return new Machine(bytes, load).run()
}

class Machine {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #load: (reference: StorageReference) => Storage
  readonly #stack: PickleValue[] = []
  readonly #memo = new Map<number, PickleValue>()
  #at = 0
  #pairs = 0

  constructor(bytes: Uint8Array, load: (reference: StorageReference) => Storage) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#load = load
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.#u8()
      if (opcode === 0x2e) break // STOP
      this.#step(opcode)
    }
    const value = this.#pop()
    if (this.#stack.length > 0) throw this.#bad('values are left on the stack at its end')
    return value
  }

  #step(opcode: number): void {
    const stack = this.#stack
    switch (opcode) {
      case 0x80: // PROTO
        if (this.#u8() > NEWEST_PROTOCOL) throw this.#bad(`its protocol is newer than ${NEWEST_PROTOCOL}`)
        return
      case 0x95: // FRAME: only a hint for buffered reading
        this.#u64()
        return

      case 0x4e: // NONE
        stack.push(null)
        return
      case 0x88: // NEWTRUE
        stack.push(true)
        return
      case 0x89: // NEWFALSE
        stack.push(false)
        return
      case 0x4b: // BININT1
        stack.push(this.#u8())
        return
      case 0x4d: // BININT2
        stack.push(this.#view.getUint16(this.#skip(2), true))
        return
      case 0x4a: // BININT
        stack.push(this.#view.getInt32(this.#skip(4), true))
        return
      case 0x8a: // LONG1
        stack.push(this.#long(this.#u8()))
        return
      case 0x47: // BINFLOAT, the one big-endian number
        stack.push(this.#view.getFloat64(this.#skip(8), false))
        return
      case 0x58: // BINUNICODE
        stack.push(this.#text(this.#u32()))
        return
      case 0x8c: // SHORT_BINUNICODE
        stack.push(this.#text(this.#u8()))
        return
      case 0x8d: // BINUNICODE8
        stack.push(this.#text(this.#u64()))
        return
      case 0x54: // BINSTRING
        stack.push(this.#text(this.#u32()))
        return
      case 0x55: // SHORT_BINSTRING
        stack.push(this.#text(this.#u8()))
        return

      case 0x28: // MARK
        stack.push(MARK)
        return
      case 0x30: // POP
        this.#pop()
        return
      case 0x31: // POP_MARK
        this.#popToMark()
        return
      case 0x29: // EMPTY_TUPLE
      case 0x5d: // EMPTY_LIST
        stack.push([])
        return
      case 0x74: // TUPLE
      case 0x6c: // LIST
        stack.push(this.#popToMark())
        return
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        stack.push(this.#popMany(opcode - 0x84))
        return
      case 0x61: // APPEND
        this.#append([this.#pop()])
        return
      case 0x65: // APPENDS
        this.#append(this.#popToMark())
        return
      case 0x7d: // EMPTY_DICT
        stack.push(new Map())
        return
      case 0x64: // DICT
        stack.push(this.#fill(new Map(), this.#popToMark()))
        return
      case 0x73: // SETITEM
        this.#setItems(this.#popMany(2))
        return
      case 0x75: // SETITEMS
        this.#setItems(this.#popToMark())
        return

      case 0x71: // BINPUT
        this.#memo.set(this.#u8(), this.#top())
        return
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#u32(), this.#top())
        return
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top())
        return
      case 0x68: // BINGET
        stack.push(this.#remembered(this.#u8()))
        return
      case 0x6a: // LONG_BINGET
        stack.push(this.#remembered(this.#u32()))
        return

      case 0x63: // GLOBAL
        stack.push(this.#global(this.#line(), this.#line()))
        return
      case 0x93: {
        // STACK_GLOBAL
        const [module, name] = this.#popMany(2)
        if (typeof module !== 'string' || typeof name !== 'string') throw this.#bad('a global whose name is no string')
        stack.push(this.#global(module, name))
        return
      }
      case 0x51: // BINPERSID
        stack.push(this.#storage(this.#pop()))
        return
      case 0x52: {
        // REDUCE
        const [callable, args] = this.#popMany(2)
        if (!(callable instanceof Global) || !Array.isArray(args)) throw this.#bad('it calls what is no function')
        stack.push(this.#call(callable.name, args))
        return
      }
      case 0x62: {
        // BUILD: PyTorch sets attributes on a state dict only (`_metadata`: module versions), nothing that counts here.
        this.#pop()
        if (!(this.#top() instanceof Map)) throw this.#bad('it sets attributes of something that is no dict')
        return
      }
      default:
        this.#at--
        throw this.#bad(`opcode 0x${opcode.toString(16).padStart(2, '0')} does not belong into a state dict`)
    }
  }

  // What the allowed globals stand for.
  #call(name: string, args: PickleValue[]): PickleValue {
    switch (name) {
      case 'collections.OrderedDict': {
        const pairs = args.length === 0 ? [] : args[0]
        if (!Array.isArray(pairs) || args.length > 1) throw this.#bad('OrderedDict of something that is no list')
        // Every pair takes bytes of its own, unless one list is used again and again to make the reader work for hours.
        this.#pairs += pairs.length
        if (this.#pairs > this.#bytes.length) throw this.#bad('it copies more pairs than it can hold')
        const flat: PickleValue[] = []
        for (const pair of pairs) {
          if (!Array.isArray(pair) || pair.length !== 2) throw this.#bad('OrderedDict of something that is no pair')
          flat.push(...pair)
        }
        return this.#fill(new Map(), flat)
      }
      case 'torch._utils._rebuild_tensor_v2': {
        // (storage, offset, size, strides, requires_grad, backward_hooks[, metadata])
        const [storage, offset, shape, strides] = args
        if (!(storage instanceof PickledStorage)) throw this.#bad('a tensor without a storage')
        if (typeof offset !== 'number' || !isNumbers(shape) || !isNumbers(strides))
          throw this.#bad('a tensor whose offset, size or strides are no numbers')
        return new PickledTensor(view(storage.storage, shape, strides, offset))
      }
      case 'torch._utils._rebuild_parameter': {
        // (data, requires_grad, backward_hooks)
        const [data] = args
        if (!(data instanceof PickledTensor)) throw this.#bad('a parameter without a tensor')
        return data
      }
      default:
        throw this.#bad(`it calls ${name}, which is a type`)
    }
  }

  // ('storage', storage type, key, device, elements)
  #storage(id: PickleValue): PickledStorage {
    if (!Array.isArray(id) || id.length !== 5) throw this.#bad('a persistent id that is no storage')
    const [kind, type, key, , length] = id
    const dtype = type instanceof Global ? STORAGE_TYPES[type.name] : undefined
    if (kind !== 'storage' || dtype === undefined || typeof key !== 'string')
      throw this.#bad('a persistent id that is no storage')
    if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0)
      throw this.#bad(`storage ${key} has no valid length`)
    return new PickledStorage(this.#load({ dtype, key, length }))
  }

  #global(module: string, name: string): Global {
    const full = `${module}.${name}`
    if (!GLOBALS.has(full)) throw new RefusedGlobalError(full)
    return new Global(full)
  }

  #append(values: PickleValue[]): void {
    const list = this.#top()
    if (!Array.isArray(list)) throw this.#bad('it appends to something that is no list')
    for (const value of values) list.push(value)
  }

  #setItems(flat: PickleValue[]): void {
    const dict = this.#top()
    if (!(dict instanceof Map)) throw this.#bad('it sets items of something that is no dict')
    this.#fill(dict, flat)
  }

  #fill(dict: Map<PickleKey, PickleValue>, flat: PickleValue[]): Map<PickleKey, PickleValue> {
    if (flat.length % 2 === 1) throw this.#bad('a dict with a key that has no value')
    for (let i = 0; i < flat.length; i += 2) {
      const key = flat[i]!
      if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'boolean')
        throw this.#bad('a dict whose key is neither a string nor a number')
      dict.set(key, flat[i + 1]!)
    }
    return dict
  }

  #pop(): PickleValue {
    const value = this.#stack.pop()
    if (value === undefined || value instanceof Mark) throw this.#bad('its stack has nothing to take')
    return value
  }

  #popMany(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.#pop()).reverse()
  }

  #popToMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK)
    if (mark < 0) throw this.#bad('its stack has no mark')
    const values = this.#stack.splice(mark)
    values.shift()
    return values
  }

  #top(): PickleValue {
    const value = this.#stack.at(-1)
    if (value === undefined || value instanceof Mark) throw this.#bad('its stack has nothing on it')
    return value
  }

  #remembered(index: number): PickleValue {
    const value = this.#memo.get(index)
    if (value === undefined) throw this.#bad(`its memo has no ${index}`)
    return value
  }

  // Moves past `count` bytes that must be there and returns where they begin.
  #skip(count: number): number {
    const from = this.#at
    if (count > this.#bytes.length - from) throw this.#bad(`it ends ${count - this.#bytes.length + from} bytes early`)
    this.#at += count
    return from
  }

  #u8(): number {
    return this.#view.getUint8(this.#skip(1))
  }

  #u32(): number {
    return this.#view.getUint32(this.#skip(4), true)
  }

  #u64(): number {
    return Number(this.#view.getBigUint64(this.#skip(8), true))
  }

  #text(length: number): string {
    const from = this.#skip(length)
    return new TextDecoder().decode(this.#bytes.subarray(from, from + length))
  }

  // A line as GLOBAL has them, without its end.
  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at)
    if (end < 0) throw this.#bad('it ends inside a name')
    const text = this.#text(end - this.#at)
    this.#at++
    return text
  }

  // A little-endian two's complement integer of any length; `bigint` where a number could not hold it.
  #long(length: number): number | bigint {
    const from = this.#skip(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[from + i]!)
    value = BigInt.asIntN(8 * length, value)
    const near = Number(value)
    return Number.isSafeInteger(near) ? near : value
  }

  #bad(what: string): CheckpointError {
    return new CheckpointError(`pickle, byte ${this.#at}: ${what}`)
  }
}

function isNumbers(value: PickleValue | undefined): value is number[] {
  return Array.isArray(value) && value.every(item => typeof item === 'number')
}
