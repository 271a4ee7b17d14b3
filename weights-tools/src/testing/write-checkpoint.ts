/** Writes pickles and PyTorch archives by hand, opcode by opcode, for tests of what reads them. */
import { zipSync } from 'fflate'

/** Bytes of a pickle in the making. */
export type Opcodes = number[]

const ascii = (text: string): Opcodes => [...new TextEncoder().encode(text)]
const u32 = (value: number): Opcodes => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24]

/** `GLOBAL`: names something importable. */
export const global = (module: string, name: string): Opcodes => [0x63, ...ascii(`${module}\n${name}\n`)]
/** `BINUNICODE`. */
export const text = (value: string): Opcodes => [0x58, ...u32(ascii(value).length), ...ascii(value)]
/** `BININT`. */
export const int = (value: number): Opcodes => [0x4a, ...u32(value)]
/** `MARK … TUPLE`. */
export const tuple = (...items: Opcodes[]): Opcodes => [0x28, ...items.flat(), 0x74]
/** `EMPTY_DICT MARK … SETITEMS`. */
export const dict = (entries: Record<string, Opcodes>): Opcodes => [
  ...[0x7d, 0x28],
  ...Object.entries(entries).flatMap(([key, value]) => [...text(key), ...value]),
  0x75,
]
/** Function and arguments, `REDUCE`. */
export const call = (callable: Opcodes, args: Opcodes): Opcodes => [...callable, ...args, 0x52]
/** `NONE`, `NEWFALSE`, `EMPTY_TUPLE`. */
export const NONE: Opcodes = [0x4e]
export const FALSE: Opcodes = [0x89]
export const EMPTY_TUPLE: Opcodes = [0x29]
/** `PROTO 2 … STOP`. */
export const pickle = (value: Opcodes): Uint8Array => Uint8Array.from([0x80, 2, ...value, 0x2e])

/** What `torch.save` writes for a tensor. */
export interface WrittenTensor {
  readonly key: string
  /** Elements of its storage. */
  readonly length: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
  readonly offset?: number
  readonly type?: string
}

/** A tensor: a call of `_rebuild_tensor_v2` with a storage that a persistent id names. */
export function tensor({ key, length, shape, strides, offset = 0, type = 'FloatStorage' }: WrittenTensor): Opcodes {
  const id = tuple(text('storage'), global('torch', type), text(key), text('cpu'), int(length))
  const numbers = (values: readonly number[]) => tuple(...values.map(int))
  const hooks = call(global('collections', 'OrderedDict'), EMPTY_TUPLE)
  return call(
    global('torch._utils', '_rebuild_tensor_v2'),
    tuple([...id, 0x51], int(offset), numbers(shape), numbers(strides), FALSE, hooks),
  )
}

/** A zip archive as `torch.save` lays it out; `level` 0 stores, 1 to 9 deflates. */
export function archive(
  pickled: Opcodes,
  storages: Record<string, ArrayBufferView>,
  { level = 0, byteOrder = 'little' }: { level?: 0 | 6; byteOrder?: string } = {},
): Uint8Array {
  const files: Record<string, Uint8Array> = {
    'model/data.pkl': pickle(pickled),
    'model/byteorder': Uint8Array.from(ascii(byteOrder)),
  }
  for (const [key, { buffer, byteOffset, byteLength }] of Object.entries(storages))
    files[`model/data/${key}`] = new Uint8Array(buffer, byteOffset, byteLength)
  return zipSync(files, { level })
}
