/** `prismal calibrate`, and `--sharing` and `--budget` of other commands, as a person runs them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { prismal } from '../prismal-command.js'
import { randomFrom } from '../random.js'
import { temporaryFolder } from '../temporary-folder.js'

const folder = temporaryFolder()
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
/** Records in CIFAR's binary layout. */
const records = (count: number): Uint8Array => {
  const random = randomFrom(3)
  return Uint8Array.from({ length: count * 3073 }, () => Math.floor(256 * random()))
}
const IMAGES = ['calibrate', 'image-classification', '--inputs']
const PICTURE = 'examples/images/ship.png'

describe('prismal calibrate', () => {
  it('chooses, says how sure it is, and writes what run shares by', async () => {
    const written = join(folder, 'sharing.json')
    const some = file('some.bin', records(24))
    const goal = ['--devices', '2', '--max-loss', '25%', '--confidence', '0.9']
    const { code, out, err } = await prismal(...IMAGES, some, ...goal, '--out', written)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/received a device +tried on +loss, points of accuracy/)
    expect(out).toMatch(/every row, int8 +56\.66 kB +\d+ +0\.00 \(≤ \d+\.\d\d\) +holds/)
    expect(out).toMatch(
      /\n\n.*: [\d.]+ k?B received a device and input \(full: 221 kB\)\nloses about \d+\.\d\d points of accuracy, with 90 % confidence no more than 25 \(n = \d+ of 24 inputs\)/,
    )
    const { task, devices, sharing, calibration } = JSON.parse(readFileSync(written, 'utf8'))
    expect({ task, devices }).toEqual({ task: 'image-classification', devices: 2 })
    expect(calibration.loss.upper).toBeLessThanOrEqual(25)

    const run = await prismal('run', 'image-classification', PICTURE, '--sharing', written, '--json')
    expect({ code: run.code, err: run.err }).toEqual({ code: 0, err: '' })
    const { report } = JSON.parse(run.out)
    expect(report.strategy).toBe(sharing.strategy ?? 'means')
    const received = report.devices.map((d: { bytesReceived: number }) => d.bytesReceived)
    expect(Math.max(...received)).toBe(calibration.bytes)

    const three = await prismal('run', 'image-classification', PICTURE, '--sharing', written, '--devices', '3')
    expect(three).toMatchObject({ code: 2, out: '' })
    expect(three.err).toContain('was chosen for 2 devices, not for 3: calibrate for those')
    const other = await prismal('run', 'text-generation', 'And', '--sharing', written, '--max-new-tokens', '1')
    expect(other.err).toContain('was chosen for another model')
  })

  it('falls back to sending everything where there are too few inputs, and gives all of it as JSON', async () => {
    const goal = ['--devices', '2', '--max-loss', '1']
    const { code, out } = await prismal(...IMAGES, 'examples/images', ...goal)
    expect(code).toBe(0)
    expect(out).toMatch(
      /every row, f32: 221 kB .*\nloses nothing\nnothing cheaper could be shown to lose so little, so every row is sent\nevery row, int8 \(56\.66 kB\) may do: about \d+ inputs would show it, 6 are too few\n$/,
    )
    const json = JSON.parse((await prismal(...IMAGES, 'examples/images', ...goal, '--json')).out)
    expect(json).toMatchObject({ format: 1, devices: 2, sharing: { strategy: 'full' }, calibration: { inputs: 6 } })
    expect(json.versions.prismal).toBeDefined()
  })

  it('says that nothing is known where inputs are too few to tell, and how many do', async () => {
    const line = 'In the beginning God created the heaven and the earth, and the earth was without form, and void.'
    const texts = file('texts.json', JSON.stringify(Array.from({ length: 3 }, () => `${line} ${line}`)))
    const args = ['calibrate', 'text-generation', '--inputs', texts, '--devices', '2']
    const most = await prismal(...args, '--max-loss', '5')
    expect(most.out).toMatch(
      /loses nothing\nnothing cheaper could .*\nevery row, int8 .* may do: 3 windows are too few to tell, it takes at least 8\n$/,
    )
    const budget = await prismal(...args, '--budget', '10kB')
    expect(budget.out).toMatch(
      /\nnothing is known of what it loses: 3 windows are too few to tell, it takes at least 8\n$/,
    )
  })

  it('says what is wrong with a command', async () => {
    const lines = file('lines.txt', 'one\ntwo\n')
    const cases: [string[], number, string][] = [
      [[...IMAGES, PICTURE, '--max-loss', '1%'], 2, 'plan: say how many devices will share with --devices'],
      [[...IMAGES, PICTURE, '--devices', '2'], 2, 'plan: give either the most that may be lost'],
      [[...IMAGES, PICTURE, '--devices', '2', '--max-loss', 'little'], 2, 'It is like 0.5%.'],
      [[...IMAGES, PICTURE, '--devices', '2', '--budget', '5 apples'], 2, 'It is like 50kB.'],
      [
        [...IMAGES, PICTURE, '--devices', '2', '--max-loss', '1', '--out', join(folder, 'never', 'sharing.json')],
        ...([2, 'There is no folder'] as const),
      ],
      [[...IMAGES, 'nowhere', '--devices', '2', '--max-loss', '1'], 1, 'nowhere does not exist'],
      [[...IMAGES, lines, '--devices', '2', '--max-loss', '1'], 1, 'is not known to hold images'],
      [
        [...IMAGES, file('half.bin', new Uint8Array(99)), '--devices', '2', '--max-loss', '1'],
        1,
        'not records of 3073',
      ],
      [
        ['calibrate', 'text-generation', '--inputs', file('a.json', '{}'), '--devices', '2', '--max-loss', '1'],
        1,
        'is not a list of texts',
      ],
      [
        ['calibrate', 'fill-mask', '--inputs', lines, '--devices', '2', '--max-loss', '1'],
        2,
        'Tasks that can be calibrated are image-classification, text-classification,',
      ],
      [
        ['calibrate', 'image-classification', '--devices', '2'],
        2,
        "required option '--inputs <what...>' not specified",
      ],
    ]
    for (const [args, code, message] of cases) {
      const ended = await prismal(...args)
      expect(ended).toMatchObject({ code, out: '' })
      expect(ended.err).toContain(message)
      expect(ended.err).not.toContain('    at ')
    }
  })

  it('explains itself', async () => {
    const { code, out } = await prismal('calibrate', '--help')
    expect(code).toBe(0)
    for (const option of ['--inputs', '--max-loss', '--budget', '--confidence', '--devices', '--out', '--json'])
      expect(out).toContain(option)
  })
})

describe('a budget', () => {
  it('is kept without any inputs, and says that nobody knows what it costs', async () => {
    const { code, out, err } = await prismal(
      'run',
      'image-classification',
      PICTURE,
      '--devices',
      '2',
      '--budget',
      '15kB',
      '--json',
    )
    expect(code).toBe(0)
    expect(err).toMatch(
      /^budget: \d+ means a device, int4.* \(1\d\.\d+ kB a device\); what it costs is not known: prismal calibrate tells\n$/,
    )
    const received = JSON.parse(out).report.devices.map((d: { bytesReceived: number }) => d.bytesReceived)
    expect(Math.max(...received)).toBeLessThanOrEqual(15_000)
    expect(Math.max(...received)).toBeGreaterThan(7500)
  })

  it('has a column of its own in a plan', async () => {
    const args = ['plan', '--model', 'models/vit-cifar10', '--devices', '2']
    const few = await prismal(...args, '--budget', '15kB')
    expect(few.out).toMatch(/means L=\d+/)
    expect(few.err).toContain('what it costs is not known')
    const most = await prismal(...args, '--budget', '100kB')
    expect(most.out).toContain('full, int8')
  })

  it('says what does not fit', async () => {
    const run = (...args: string[]) => prismal('run', 'image-classification', PICTURE, ...args)
    const cases: [string[], string][] = [
      [['--devices', '2', '--budget', '100'], 'a budget of 100 bytes is too small: one mean a device takes'],
      [['--budget', '10kB'], '--budget is for 2 devices or more'],
      [['--devices', '2', '--budget', '10kB', '--segments', '3'], '--budget chooses segments: leave that out'],
      [
        ['--devices', '2', '--budget', '10kB', '--order', 'raster', '--near', '2'],
        '--budget chooses near, order: leave',
      ],
      [['--devices', '2', '--budget', '10kB', '--measured'], 'leave --budget and --sharing out'],
      [['--sharing', join(folder, 'none.json')], 'none.json cannot be read'],
      [['--sharing', file('other.json', '{"a":1}')], 'is not what prismal calibrate --out writes'],
    ]
    for (const [args, message] of cases) {
      const { code, err } = await run(...args)
      expect({ args, code }).toEqual({ args, code: 2 })
      expect(err).toContain(message)
    }
    expect(existsSync(join(folder, 'none.json'))).toBe(false)
  })
})
