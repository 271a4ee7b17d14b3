import fc from 'fast-check'
import { zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { CheckpointError } from './errors.js'
import { looksLikeZip, readZip } from './zip.js'

const contents = (archive: Uint8Array) => [...readZip(archive)].map(([name, entry]) => [name, [...entry.bytes()]])

describe('zip archives', () => {
  it('gives back what was packed, stored and deflated', () => {
    const file = fc.uint8Array({ maxLength: 300 })
    fc.assert(
      fc.property(fc.array(file, { maxLength: 5 }), fc.constantFrom(0 as const, 6 as const), (files, level) => {
        const named = files.map((bytes, i) => [`folder/${i}`, bytes] as const)
        const archive = zipSync(Object.fromEntries(named), { level })
        expect(contents(archive)).toEqual(named.map(([name, bytes]) => [name, [...bytes]]))
        expect(looksLikeZip(archive)).toBe(files.length > 0)
      }),
    )
  })

  it('reads an archive with a comment and one that is a view into a larger buffer', () => {
    const archive = zipSync({ a: Uint8Array.of(1, 2, 3) }, { level: 0 })
    const commented = Uint8Array.from([...archive, 0x68, 0x69])
    new DataView(commented.buffer).setUint16(archive.length - 2, 2, true)
    const padded = new Uint8Array(commented.length + 20)
    padded.set(commented, 7)
    expect(contents(padded.subarray(7, 7 + commented.length))).toEqual([['a', [1, 2, 3]]])
  })

  it.each([0, 6] as const)('notices any single changed byte of the data (level %i)', level => {
    const bytes = Uint8Array.from({ length: 200 }, (_, i) => i % 50)
    const archive = zipSync({ a: bytes }, { level })
    // Everything between the local header's name and the directory is data.
    const directory = new DataView(archive.buffer).getUint32(archive.length - 6, true)
    for (let at = 31; at < directory; at++) {
      const damaged = archive.slice()
      damaged[at]! ^= 0x10
      expect(() => contents(damaged), `byte ${at}`).toThrow(CheckpointError)
    }
  })

  it('does not believe in a size that the deflated bytes cannot have', () => {
    const archive = zipSync({ a: new Uint8Array(1000) }, { level: 6 })
    const directory = new DataView(archive.buffer).getUint32(archive.length - 6, true)
    new DataView(archive.buffer).setUint32(directory + 24, 0xfffffff0, true)
    expect(() => contents(archive)).toThrow(/cannot hold/)
  })
})
