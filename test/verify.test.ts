/** Every golden folder, every case, on every build that this Node has: alone, over memory and over threads. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { availableBuilds } from '@prismal/tensor'
import { type VerifyOptions, verifyFolder } from 'prismal'
import { describe, expect, it } from 'vitest'
import { sharedFolder } from './shared-folder.js'
import { temporaryFolder } from './temporary-folder.js'

const reference = sharedFolder('reference')
const goldenIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && readdirSync(join(folder, entry.name)).includes('cases.json'))
    .map(entry => join(folder, entry.name))

async function failures(folder: string, options: VerifyOptions = {}): Promise<{ cases: number; failed: string[] }> {
  const failed: string[] = []
  let cases = 0
  for await (const { name, build, way, failure } of verifyFolder(folder, options)) {
    cases++
    if (failure) failed.push(`${name}, ${build}, ${way}: ${failure}`)
  }
  return { cases, failed }
}

describe('models of the repository', () => {
  // The reference backend is held to the small models below; here it would take minutes.
  const builds = availableBuilds().filter(build => build !== 'reference')

  it.each(goldenIn('models'))('%s gives its golden results', async folder => {
    const { cases, failed } = await failures(folder, { builds })
    expect(failed).toEqual([])
    expect(cases).toBeGreaterThan(10)
  })

  it('finds a golden result that is off', async () => {
    const copy = join(temporaryFolder(), 'vit')
    cpSync('models/vit-cifar10', copy, { recursive: true })
    const file = join(copy, 'outputs.safetensors')
    const bytes = readFileSync(file)
    // The last bytes are the last value of the last tensor.
    bytes.writeFloatLE(bytes.readFloatLE(bytes.length - 4) + 0.01, bytes.length - 4)
    writeFileSync(file, bytes)
    expect((await failures(copy, { builds: ['simd'], ways: [] })).failed.length).toBeGreaterThan(0)
  })
})

describe.skipIf(!reference)('reference models', () => {
  it.each(reference ? goldenIn(reference) : [])('%s gives its golden results', async folder => {
    const { cases, failed } = await failures(folder)
    expect(failed).toEqual([])
    expect(cases).toBeGreaterThan(60)
  })
})
