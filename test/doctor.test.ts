/** `prismal doctor`, in this runtime and in ones that lack something. */
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { prismal, start } from './prismal-command.js'
import { temporaryFolder } from './temporary-folder.js'

it('tells what is here in lines, and in one object', async () => {
  const { code, out, err } = await prismal('doctor')
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).toContain(`Node ${process.versions.node}`)
  expect(out).toMatch(/^product {6}[1-9]\d* GF\/s on one thread \(f32, [\w-]+\)$/m)
  expect(out).toContain('@prismal/vit-cifar10 0.1.0')
  const told = JSON.parse((await prismal('doctor', '--json')).out)
  expect(told.runtime.cores).toBe(availableParallelism())
  expect(told.engine.gigaflops).toBeGreaterThan(0)
  expect(told.models).toHaveProperty('@prismal/gpt2-chronicle', '0.1.0')
  expect(told.transports).toHaveProperty('web-socket', [])
})

it('says what to do about what is missing', async () => {
  const lonely = temporaryFolder()
  // The packages alone: no model, no transport's library beside them.
  for (const name of ['commander', 'ws', '@jsquash', '@huggingface'])
    cpSync(`node_modules/${name}`, join(lonely, 'node_modules', name), { recursive: true })
  for (const name of ['tensor', 'models', 'distribute', 'prismal']) {
    const folder = join(lonely, 'node_modules', name === 'prismal' ? name : `@prismal/${name}`)
    mkdirSync(folder, { recursive: true })
    const { files } = JSON.parse(readFileSync(`packages/${name}/package.json`, 'utf8')) as { files: string[] }
    for (const part of ['package.json', ...files])
      cpSync(`packages/${name}/${part}`, join(folder, part), { recursive: true })
  }
  const doctor = (...flags: string[]) =>
    start(process.execPath, [...flags, 'node_modules/prismal/bin/prismal.js', 'doctor'], { cwd: lonely }).ended
  const { code, out, err } = await doctor()
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).toContain('→ @prismal/vit-cifar10 is not installed\n  npm install @prismal/vit-cifar10')
  expect(out).toContain('→ web-rtc takes more packages\n  npm install node-datachannel')
  const slow = await doctor('--jitless')
  expect(slow.out).toMatch(/^webassembly {2}no$/m)
  expect(slow.out).toContain('(f32, reference)')
  rmSync(join(lonely, 'node_modules/@prismal/tensor/dist'), { recursive: true })
  cpSync('packages/tensor/dist', join(lonely, 'node_modules/@prismal/tensor/dist'), {
    recursive: true,
    filter: path => !path.endsWith('.wasm'),
  })
  const broken = await doctor()
  expect(broken.code).toBe(0)
  expect(broken.out).toMatch(/^→ wasm: the [\w-]+ kernels could not be loaded from /m)
})
