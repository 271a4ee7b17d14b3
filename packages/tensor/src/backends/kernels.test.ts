/** Every kernel of the catalogue, on every build this runtime can run, against the reference backend. */
import { catalogue, KERNEL_NAMES, type Kernel } from '@prismal/kernels/catalogue'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  anyCase,
  buffersOf,
  bytesOfRows,
  call,
  difference,
  firstStray,
  layOut,
  magnitudes,
  partOf,
} from './kernel-cases.js'
import { reference, run, skipped, wasmBuilds } from './test-subjects.js'

const RUNS = Number(process.env.PRISMAL_RUNS ?? (process.env.CI ? 1000 : 100))

const builds = wasmBuilds.map(({ build }) => build).join(', ') || 'none'
console.log(`kernels: ${RUNS} runs each on: ${builds}${skipped.map(reason => `; skipped: ${reason}`).join('')}`)

describe.each(wasmBuilds)('$build', subject => {
  describe.each(KERNEL_NAMES)('%s', name => {
    const kernel: Kernel = catalogue[name]

    test('equals the reference and writes nothing beside its output', () => {
      fc.assert(
        fc.property(anyCase(kernel), one => {
          const layout = layOut(kernel, one)
          const execute = (kernels: typeof subject.kernels) => call(kernels, name, one, layout.addresses)
          const got = run(subject, layout.bytes, execute)
          const want = run(reference, layout.bytes, execute)
          const scale = kernel.tolerance > 0 ? run(reference, magnitudes(kernel, one, layout), execute) : want
          expect(got.returned).toBe(want.returned)
          expect(firstStray(kernel, one, layout, got.after), 'first byte written outside').toBe(-1)
          const error = difference(kernel, one, layout, got.after, want.after, scale.after)
          expect(error).toBeLessThanOrEqual(kernel.tolerance)
        }),
        { numRuns: RUNS },
      )
    })

    test.runIf(kernel.rows !== '')("a row's bits do not depend on the rows computed with it", () => {
      fc.assert(
        fc.property(anyCase(kernel), one => {
          const layout = layOut(kernel, one)
          const { from, part, layout: partLayout } = partOf(kernel, one, layout)
          const all = run(subject, layout.bytes, kernels => call(kernels, name, one, layout.addresses))
          const some = run(subject, partLayout.bytes, kernels => call(kernels, name, part, partLayout.addresses))
          const count = part.sizes[kernel.rows]!
          for (const p of buffersOf(kernel)) {
            if (p.use !== 'out' && p.use !== 'inout') continue
            const want = bytesOfRows(all.after, layout, p, one.sizes, from, count)
            const got = bytesOfRows(some.after, partLayout, p, part.sizes, 0, count)
            expect(Buffer.compare(got, want), `${p.name}, rows ${from}… of ${one.sizes[kernel.rows]}`).toBe(0)
          }
        }),
        { numRuns: RUNS },
      )
    })
  })
})
