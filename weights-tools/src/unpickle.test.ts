import { PrismalError } from '@prismal/tensor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CheckpointError, RefusedGlobalError } from './errors.js'
import {
  call,
  dict,
  EMPTY_TUPLE,
  global,
  int,
  type Opcodes,
  pickle,
  tensor,
  text,
  tuple,
} from './testing/write-checkpoint.js'
import { type PickleValue, unpickle } from './unpickle.js'

const noStorage = () => {
  throw new CheckpointError('no storages here')
}
const read = (value: Opcodes | Uint8Array) => unpickle(value instanceof Uint8Array ? value : pickle(value), noStorage)

describe('values', () => {
  it.each<[string, Opcodes, PickleValue]>([
    ['None', [0x4e], null],
    ['True', [0x88], true],
    ['BININT1', [0x4b, 255], 255],
    ['BININT2, little-endian', [0x4d, 1, 2], 513],
    ['BININT, signed', [0x4a, 0xfe, 0xff, 0xff, 0xff], -2],
    ['LONG1, empty', [0x8a, 0], 0],
    ['LONG1, negative', [0x8a, 2, 0x00, 0xff], -256],
    ['LONG1, too large for a number', [0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1], 1n << 64n],
    ['BINFLOAT, big-endian', [0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], 1.5],
    ['SHORT_BINUNICODE', [0x8c, 2, 0xc3, 0xa9], 'é'],
    ['BINUNICODE8', [0x8d, 1, 0, 0, 0, 0, 0, 0, 0, 0x61], 'a'],
    ['TUPLE2', [0x4b, 1, 0x4b, 2, 0x86], [1, 2]],
    ['LIST of APPEND and APPENDS', [0x5d, 0x4b, 1, 0x61, 0x28, 0x4b, 2, 0x4b, 3, 0x65], [1, 2, 3]],
    ['DICT', [0x28, ...text('a'), 0x4b, 1, 0x64], new Map([['a', 1]])],
    ['SETITEM', [0x7d, ...text('a'), 0x4b, 1, 0x73], new Map([['a', 1]])],
    ['BINPUT, POP, BINGET', [0x4b, 7, 0x71, 3, 0x30, 0x68, 3], 7],
    ['MEMOIZE and LONG_BINGET', [0x4b, 7, 0x94, 0x30, 0x6a, 0, 0, 0, 0], 7],
    ['POP_MARK', [0x4b, 7, 0x28, 0x4b, 1, 0x31], 7],
    ['FRAME', [0x95, 2, 0, 0, 0, 0, 0, 0, 0, 0x4b, 7], 7],
    [
      'OrderedDict of pairs',
      call(global('collections', 'OrderedDict'), tuple(tuple(tuple(text('a'), int(1))))),
      new Map([['a', 1]]),
    ],
    ['STACK_GLOBAL', [...text('collections'), ...text('OrderedDict'), 0x93, 0x29, 0x52], new Map()],
    [
      'attributes of an OrderedDict, which are dropped',
      [...call(global('collections', 'OrderedDict'), EMPTY_TUPLE), ...dict({ _metadata: dict({}) }), 0x62],
      new Map(),
    ],
  ])('reads %s', (_, opcodes, value) => {
    expect(read(opcodes)).toEqual(value)
  })
})

describe('what is refused', () => {
  it.each([
    ['os', 'system'],
    ['builtins', 'eval'],
    ['torch', 'load'],
    ['torch._utils', '_rebuild_tensor_v3'],
    ['torch', 'ComplexFloatStorage'],
    ['__main__', 'Model'],
    ['collections', 'OrderedDict.__init__'],
    ['constructor', 'prototype'],
  ])('%s.%s, by name, before its arguments are looked at', (module, name) => {
    for (const opcodes of [global(module, name), [...text(module), ...text(name), 0x93]]) {
      const refused = () => read([...opcodes, 0xff])
      expect(refused).toThrow(RefusedGlobalError)
      expect(refused).toThrow(expect.objectContaining({ code: 'refused-global', global: `${module}.${name}` }))
    }
  })

  it.each<[string, Opcodes, RegExp]>([
    ['NEWOBJ', [...global('collections', 'OrderedDict'), 0x29, 0x81], /opcode 0x81/],
    ['OBJ', [0x6f], /opcode 0x6f/],
    ['INST', [0x69], /opcode 0x69/],
    ['EXT1', [0x82, 1], /opcode 0x82/],
    ['PERSID as text', [0x50, 0x61, 0x0a], /opcode 0x50/],
    ['calling a string', [...text('eval'), 0x29, 0x52], /calls what is no function/],
    ['calling a type', call(global('torch', 'FloatStorage'), EMPTY_TUPLE), /calls torch.FloatStorage/],
    [
      'a tensor without storage',
      call(global('torch._utils', '_rebuild_tensor_v2'), tuple(int(1))),
      /without a storage/,
    ],
    ['a persistent id of another kind', [...tuple(text('module')), 0x51], /no storage/],
    ['a dict with a tensor as key', [0x7d, 0x28, 0x4e, 0x4b, 1, 0x75], /whose key/],
    ['setting attributes of a list', [0x5d, 0x7d, 0x62], /sets attributes/],
    ['a newer protocol', [0x80, 6], /protocol/],
    ['an unknown memo', [0x68, 9], /memo has no 9/],
    ['a string longer than the file', [0x58, 0xff, 0xff, 0xff, 0xff], /bytes early/],
    ['a string of 2^64 bytes', [0x8d, ...new Array(8).fill(0xff)], /bytes early/],
    ['an empty stack', [], /nothing to take/],
    ['a stack that is not empty in the end', [0x4e, 0x4e], /left on the stack/],
    ['a mark taken as a value', [0x28, 0x71, 0], /nothing on it/],
  ])('%s', (_, opcodes, message) => {
    expect(() => read(opcodes)).toThrow(CheckpointError)
    expect(() => read(opcodes)).toThrow(message)
  })

  it('a list that contains itself, where a list of sizes belongs', () => {
    const cyclic = [0x5d, 0x71, 0, 0x68, 0, 0x61]
    const storage = tensor({ key: '0', length: 0, shape: [], strides: [] })
    expect(() =>
      unpickle(pickle([...cyclic, ...storage]), () => ({ dtype: 'F32', length: 0, bytes: () => new Uint8Array() })),
    ).toThrow(CheckpointError)
  })

  it('one list of pairs copied again and again', () => {
    const pairs = tuple(...Array.from({ length: 100 }, () => tuple(text('a'), int(1))))
    const copy = [...global('collections', 'OrderedDict'), 0x68, 0, 0x85, 0x52, 0x30]
    expect(() => read([...pairs, 0x71, 0, ...new Array(100).fill(copy).flat()])).toThrow(/copies more pairs/)
  })
})

describe('damage', () => {
  const whole = pickle(
    dict({ a: tuple(int(1), text('two')), b: call(global('collections', 'OrderedDict'), EMPTY_TUPLE) }),
  )

  it('a pickle cut short anywhere is a CheckpointError or a refused name', () => {
    for (let length = 0; length < whole.length; length++)
      expect(() => read(whole.subarray(0, length)), `${length} bytes`).toThrow(CheckpointError)
  })

  it('changed bytes and noise end in a value or a PrismalError', () => {
    const attempt = (bytes: Uint8Array) => {
      try {
        read(bytes)
      } catch (error) {
        if (!(error instanceof PrismalError)) throw error
      }
    }
    const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), changes => {
        const damaged = whole.slice()
        for (const [at, byte] of changes) damaged[at] = byte
        attempt(damaged)
      }),
      { numRuns: 2000 },
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), attempt), { numRuns: 2000 })
  })
})
