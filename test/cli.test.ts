/** The command as a person runs it: a process of its own, its output, its messages, its exit codes. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CLI, prismal, start } from './prismal-command.js'
import { temporaryFolder } from './temporary-folder.js'

const folder = (files: Record<string, string>): string => {
  const path = temporaryFolder()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return path
}

describe('prismal run', () => {
  it('classifies a picture with the model that comes along', async () => {
    const { code, out, err } = await prismal('run', 'image-classification', 'examples/images/plane.png')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(
      /^airplane 0\.8\d\d {2}\w+ 0\.\d+ {2}\w+ 0\.\d+\nvit-cifar10 · f32 · [\w-]+, 1 thread · 1 device · [\d.]+ m?s\n$/,
    )
  })

  it('stores and computes as it is told, and says so', async () => {
    const run = (...flags: string[]) => prismal('run', 'image-classification', 'examples/images/plane.png', ...flags)
    for (const dtype of ['f16', 'q8']) {
      const { code, out, err } = await run('--dtype', dtype, '--threads', '1')
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toMatch(
        new RegExp(`^airplane 0\\.[\\s\\S]*\\nvit-cifar10 · ${dtype} · [\\w-]+, 1 thread · 1 device · `),
      )
    }
    const cores = availableParallelism()
    const { out } = await run('--threads', 'auto', '--backend', 'simd')
    expect(out).toContain(`vit-cifar10 · f32 · simd, ${cores === 1 ? '1 thread' : `${cores} threads`} · 1 device`)
  })

  it('has devices in threads store as this one does', async () => {
    const args = ['run', 'image-classification', 'examples/images/ship.png', '--dtype', 'q8', '--json']
    const alone = JSON.parse((await prismal(...args)).out)
    const { code, out } = await prismal(...args, '--devices', '2', '--strategy', 'full')
    expect(code).toBe(0)
    const shared = JSON.parse(out)
    expect(shared.output[0][0]).toMatchObject({ label: 'ship' })
    // As much memory as one device takes in this dtype; in f32 it would be three times that.
    const [one] = alone.report.devices
    for (const { peakBytes } of shared.report.devices.slice(0, 2)) expect(peakBytes / one.peakBytes).toBeLessThan(1.5)
  })

  it('shares between devices and says what travelled', async () => {
    const { code, out } = await prismal(
      'run',
      'image-classification',
      'examples/images/ship.png',
      '--devices',
      '2',
      '--segments',
      '3',
    )
    expect(code).toBe(0)
    expect(out).toMatch(/^ship 0\.[5-9]/)
    expect(out).toMatch(/2 devices · means · [\d.]+ kB exchanged/)
  })

  it('prints one JSON object with output, report, engine and versions', async () => {
    const { code, out } = await prismal(
      'run',
      'image-classification',
      'examples/images/ship.png',
      '--devices',
      '3',
      '--strategy',
      'full',
      '--json',
    )
    expect(code).toBe(0)
    const { output, report, engine, versions } = JSON.parse(out)
    expect(output[0][0].label).toBe('ship')
    expect(report.strategy).toBe('full')
    expect(report.devices.filter((d: { device: string }) => d.device !== 'coordinator')).toHaveLength(3)
    for (const { stages } of report.devices)
      for (const s of stages)
        expect(s).toMatchObject({ bytesSent: expect.any(Number), milliseconds: expect.any(Number) })
    expect(engine).toMatchObject({ backend: 'wasm', dtype: 'f32', threads: 1, worker: false })
    expect(engine.reasons).toContainEqual(expect.stringMatching(/^threads: one, the default; this machine has /))
    expect(versions.prismal).toMatch(/^\d+\.\d+\.\d+$/)
  })

  it('continues a text, the same way each time', async () => {
    const args = ['run', 'text-generation', 'And it came to pass', '--max-new-tokens', '8']
    const [a, b] = [await prismal(...args), await prismal(...args, '--devices', '2', '--strategy', 'full')]
    expect(a.code).toBe(0)
    expect(a.out).toMatch(/^And it came to pass, that/)
    expect(b.out.split('\n')[0]).toBe(a.out.split('\n')[0])
  })

  it('ends quietly when whoever reads has enough', async () => {
    const args = ['run', 'text-generation', 'And it came to pass', '--max-new-tokens', '200']
    const running = start(process.execPath, [CLI, ...args])
    running.child.stdout?.once('data', () => running.child.stdout?.destroy())
    expect(await running.ended).toMatchObject({ code: 0, err: '' })
  })

  it('embeds several texts in one batch', async () => {
    const { out } = await prismal('run', 'feature-extraction', 'a cat on a mat', 'ein Hund', '--normalize', '--json')
    const vectors = JSON.parse(out).output as number[][]
    expect(vectors.map(v => v.length)).toEqual([384, 384])
    for (const v of vectors) expect(v.reduce((s, x) => s + x * x, 0)).toBeCloseTo(1, 5)
  })
})

describe('prismal plan --measured', () => {
  const plan = (...flags: string[]) =>
    prismal('plan', '--measured', '--model', 'models/gpt2-chronicle', '--tokens', '48', '--segments', '4', ...flags)

  it('measures devices and links, and puts requests beside predictions', async () => {
    const { code, out, err } = await plan('--force', '--rounds', '2')
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^models\/gpt2-chronicle: 48 rows, \d+ layers, width \d+, f32\n/)
    expect(out).toMatch(/\n0 local +[\d.]+ GF\/s +[\d.]+ GF\/s +[\d.]+ ms +\d+\n1 thread 1 +[\d.]+ GF\/s/)
    expect(out).toMatch(/\n0 → 1 +[\d.]+ ms +[\d.]+ [kMGT]bit\/s\n/)
    expect(out).toMatch(/\n(Chosen|Forced): .*(means L=4, int4|full) [\d.]+ ms/)
    expect(out).toMatch(/\nmeans L=4, int4 +\d+ \+ \d+ +[\d.]+ ms +[\d.]+ ms +[+−][\d.]+ %\n/)
  })

  it('gives the same as JSON; refuses with exit code 1 and the reason where sharing does not pay', async () => {
    // Whether it pays is the machine's affair; the answer, the exit code and the message must agree.
    const { code, out, err } = await plan('--json', '--strategy', 'full', '--weights', '1,47')
    const { measurements, candidates, pays, reason } = JSON.parse(out)
    expect(measurements.devices).toHaveLength(2)
    expect(candidates.map((c: { strategy: string }) => c.strategy).sort()).toEqual(['full', 'one device'])
    if (pays) expect([code, err]).toEqual([0, ''])
    else expect([code, err]).toEqual([1, `sharing would not pay: ${reason} (--force shares all the same)\n`])
  })

  it('measures before a run', async () => {
    const flags = ['--devices', '2', '--segments', '4', '--measured', '--force', '--max-new-tokens', '4']
    const { code, out, err } = await prismal(
      'run',
      'text-generation',
      'In the beginning God created the heaven',
      ...flags,
    )
    expect(code).toBe(0)
    expect(err).toMatch(/^measured: .*(means L=\d, int4|full) /)
    expect(out).toMatch(/ · 2 devices · (means|full) · /)
  })
})

describe('prismal plan', () => {
  it("prints the paper's table for ViT-B/16", async () => {
    const { code, out } = await prismal(
      'plan',
      '--model',
      'google/vit-base-patch16-224',
      '--devices',
      '2',
      '--segments',
      '10',
      '--as-published',
    )
    expect(code).toBe(0)
    for (const figure of ['35.13 GF', '20.35 GF', '17.52 GF', '42.06 %', '50.11 %', '9.90', '89.90 %', '369 kB'])
      expect(out).toContain(figure)
  })

  it('predicts whether sharing pays', async () => {
    const plan = (bandwidth: string) =>
      prismal(
        'plan',
        '--model',
        'vit-base-patch16-224',
        '--segments',
        '10',
        '--speed',
        '47GF',
        '--bandwidth',
        bandwidth,
      )
    expect((await plan('100Mbit')).out).toMatch(/Share by means L=10, sink 1, int4: 1\.\d+× faster/)
    expect((await plan('10kbit')).out).toContain('Sharing does not pay')
  })

  it('takes a model folder', async () => {
    const { out } = await prismal(
      'plan',
      '--model',
      'models/gpt2-chronicle',
      '--devices',
      '4',
      '--tokens',
      '512',
      '--json',
    )
    expect(JSON.parse(out).columns.map((c: { devices: number }) => c.devices)).toEqual([1, 4, 4])
  })

  it('tells the memory that a run then uses, to the byte', async () => {
    const sharing = ['--devices', '2', '--segments', '3', '--json']
    const planned = await prismal('plan', '--model', 'models/vit-cifar10', ...sharing)
    const run = await prismal('run', 'image-classification', 'examples/images/ship.png', ...sharing)
    const means = JSON.parse(planned.out).columns.at(-1)
    const devices = JSON.parse(run.out).report.devices.slice(0, 2) as { peakBytes: number }[]
    expect(means.memoryBytes).toBe(Math.max(...devices.map(d => d.peakBytes)))
    expect(means.processBytes).toBeGreaterThan(means.memoryBytes)
    expect(means.processBytes % 65536).toBe(0)
  })

  it('tells the memory in each dtype, which a run then uses', async () => {
    for (const dtype of ['f16', 'q8']) {
      const flags = ['--dtype', dtype, '--json']
      const planned = await prismal('plan', '--model', 'models/vit-cifar10', '--devices', '1', ...flags)
      const run = await prismal('run', 'image-classification', 'examples/images/ship.png', ...flags)
      const { columns, dtype: told } = JSON.parse(planned.out)
      expect(told).toBe(dtype)
      expect(columns[0].memoryBytes).toBe(JSON.parse(run.out).report.devices[0].peakBytes)
    }
    const { out } = await prismal('plan', '--model', 'gpt2-xl', '--dtype', 'q8')
    expect(out).toMatch(/^gpt2-xl: 1024 rows, 48 layers, width 1600, q8\n/)
    expect(out).toMatch(/memory a device +1\.\d\d GB/)
  })

  it('tells the memory of models that nobody has here, and larger ones than wasm can hold', async () => {
    const plan = async (model: string) => (await prismal('plan', '--model', model)).out
    expect(await plan('vit-base-patch16-224')).toMatch(/weights a device +34\d MB.*\nmemory a device +35\d MB +34\d MB/)
    expect(await plan('gpt2-xl')).toMatch(/memory a device +6\.\d\d GB/)
  })
})

describe('prismal inspect and verify', () => {
  it('tells what a folder holds', async () => {
    const { out } = await prismal('inspect', 'models/vit-cifar10', '--tensors')
    expect(out).toContain('vit')
    expect(out).toContain('4.03 M')
    expect(out).toMatch(/vit\.embeddings\.cls_token +F16 +\[1,1,192\]/)
  })

  it('verifies a folder and exits 0', async () => {
    const { code, out } = await prismal('verify', 'models/vit-cifar10', '--build', 'simd', '--way', 'memory')
    expect(code).toBe(0)
    expect(out).toMatch(/\d+ passed, 0 failed/)
  })
})

describe('when something is wrong', () => {
  const text = folder({ 'notes.txt': 'hello', 'llama/config.json': '{"model_type":"llama"}', 'empty/x': '' })
  const failures: [string, string[], number, RegExp][] = [
    [
      'a text for a picture',
      ['run', 'image-classification', join(text, 'notes.txt')],
      1,
      /notes\.txt is not an image \(its first bytes are 68 65 6c 6c.*JPEG, PNG\)/,
    ],
    [
      'a picture that is not there',
      ['run', 'image-classification', 'nope.png'],
      1,
      /nope\.png cannot be read: it does not exist/,
    ],
    ['a model that is not there', ['run', 'fill-mask', 'x', '--model', './nope'], 1, /there is no model at .*nope/],
    [
      'no model where the task has no default',
      ['run', 'fill-mask', 'x'],
      1,
      /fill-mask has no default model: name one with --model/,
    ],
    [
      'a model of another kind',
      ['run', 'text-generation', 'x', '--model', join(text, 'llama')],
      1,
      /llama\/config\.json: model_type "llama" is not supported \(vit, bert, gpt2\)/,
    ],
    ['a folder without a model', ['inspect', join(text, 'empty')], 1, /has no config\.json: it is not a model folder/],
    [
      'a task that the model cannot do',
      ['run', 'text-generation', 'x', '--model', 'models/vit-cifar10'],
      1,
      /is a vit model: it does not take texts/,
    ],
    ['nothing to verify against', ['verify', join(text, 'empty')], 1, /nothing to verify it against/],
    ['an unknown task', ['run', 'translation', 'x'], 2, /Tasks are image-classification/],
    ['no input', ['run', 'fill-mask'], 2, /missing required argument 'input'/],
    ['devices 0', ['run', 'fill-mask', 'x', '--devices', '0'], 2, /'0' is invalid.*whole number ≥ 1/],
    ['threads 0', ['run', 'fill-mask', 'x', '--threads', '0'], 2, /'0' is invalid.*auto or a whole number ≥ 1/],
    ['threads that are no number', ['run', 'fill-mask', 'x', '--threads', '1.5'], 2, /auto or a whole number ≥ 1/],
    [
      'threads above the cores',
      ['run', 'image-classification', 'examples/images/ship.png', '--threads', '4096'],
      1,
      /threads is 4096; this machine has (one core|\d+ cores)\n$/,
    ],
    [
      'threads where there are none',
      ['run', 'image-classification', 'examples/images/ship.png', '--threads', '2', '--backend', 'reference'],
      1,
      /threads( is 2; this machine has one core|: 2 were asked for, but the reference backend computes on one thread)\n$/,
    ],
    ['an unknown dtype', ['run', 'fill-mask', 'x', '--dtype', 'q4'], 2, /'q4' is invalid.*choices are f32, f16, q8/],
    ['an unknown dtype of a plan', ['plan', '--model', 'gpt2', '--dtype', 'f8'], 2, /choices are f32, f16, q8/],
    ['segments 0', ['run', 'fill-mask', 'x', '--segments', '0'], 2, /whole number ≥ 1/],
    [
      'an unknown strategy',
      ['run', 'fill-mask', 'x', '--strategy', 'half'],
      2,
      /Allowed choices are whole, full, means, isolated/,
    ],
    [
      'weights that do not fit the devices',
      ['run', 'image-classification', 'examples/images/ship.png', '--devices', '2', '--weights', '1,2,3'],
      2,
      /3 weights were given for 2 devices/,
    ],
    [
      'measuring one device',
      ['plan', '--model', 'models/vit-cifar10', '--measured', '--devices', '1'],
      2,
      /there is one device and nothing to share; name others with --devices or --device/,
    ],
    [
      'measuring without weights',
      ['plan', '--model', 'gpt2-xl', '--measured'],
      1,
      /there is no model folder gpt2-xl; measuring needs the weights/,
    ],
    [
      'an option of another task',
      ['run', 'image-classification', 'examples/images/ship.png', '--max-new-tokens', '3'],
      2,
      /^--max-new-tokens is for text-generation, not for image-classification/,
    ],
    [
      'an option that is taken for another',
      ['run', 'image-classification', 'examples/images/ship.png', '--top-k', '3'],
      2,
      /^--top-k is for text-generation, not for image-classification, which has --topk$/m,
    ],
    ['sampling from nothing', ['run', 'text-generation', 'x', '--top-p', '0'], 2, /number above 0 and at most 1/],
    ['no penalty', ['run', 'text-generation', 'x', '--repetition-penalty', '0'], 2, /number above 0\./],
    ['a prompt that is too long', ['run', 'text-generation', 'and it '.repeat(2000)], 1, /positions/],
    ['an unknown option', ['run', 'fill-mask', 'x', '--modle', 'gpt2'], 2, /unknown option '--modle'/],
    ['an unknown command', ['pull'], 2, /unknown command 'pull'/],
  ]
  it.each(failures)('says so: %s', async (_, args, exit, message) => {
    const { code, out, err } = await prismal(...args)
    expect(err).toMatch(message)
    expect(err).not.toMatch(/\n {4}at /)
    expect({ code, out }).toEqual({ code: exit, out: '' })
  })

  it('prints a stack trace with --debug only', async () => {
    expect((await prismal('run', 'fill-mask', 'x', '--debug')).err).toMatch(/\n {4}at /)
  })
})
