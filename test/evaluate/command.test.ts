/** `prismal eval` as a person runs it: tables, files, messages, and what is left when it is ended. */
import { existsSync, mkdirSync, readdirSync, readFileSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Ended, type Running, startPrismal } from '../prismal-command.js'
import { temporaryFolder } from '../temporary-folder.js'
import { cifarFile } from './data.js'

const folder = temporaryFolder()
const images = join(folder, 'test_batch.bin')
writeFileSync(images, cifarFile(16))

const start = (...args: string[]): Running => startPrismal('eval', ...args)
const evaluate = (...args: string[]): Promise<Ended> => start(...args).ended

/** Resolves once a finished cell lies in the folder. */
function firstCell(out: string): Promise<void> {
  mkdirSync(out)
  return new Promise(resolve => {
    const watcher = watch(out, () => {
      if (!readdirSync(out).some(name => name.endsWith('.json'))) return
      watcher.close()
      resolve()
    })
  })
}
const grid = ['image-classification', '--data', images, '--devices', '2', '--segments', '3', '4', '5', '--jobs', '1']

describe('prismal eval', () => {
  it('prints a table, and writes the same as JSON and CSV', async () => {
    const [csv, out] = [join(folder, 'a.csv'), join(folder, 'a')]
    const args = ['image-classification', '--data', images, '--limit', '8', '--devices', '2', '--segments', '3']
    const text = await evaluate(...args, '--out', out)
    expect({ code: text.code, err: text.err }).toEqual({ code: 0, err: '' })
    expect(text.out).toMatch(
      /^image-classification: test_batch.bin, 8 items · vit-cifar10 \(f32, \w{8}…\) · items first 8\n/,
    )
    expect(text.out).toMatch(/\nmethod {2,}devices {2}received {2}compute {2}accuracy % {2}change {2}recovered\n/)
    expect(text.out).toMatch(/\none device +1 +0 B +498 MF +[\d.]+\n/)
    expect(text.out).toMatch(/\nmeans L=3 +2 +3\.50 kB +254 MF +[\d.]+ +[+−][\d.]+/)
    const { code, out: json } = await evaluate(...args, '--out', out, '--json', '--csv', csv)
    const { output, machine, versions, reused, build } = JSON.parse(json)
    expect({ code, reused, methods: output.map((c: { method: string }) => c.method) }).toEqual({
      ...{ code: 0, reused: 3, methods: ['one device', 'isolated', 'means L=3'] },
    })
    expect(output[2].sharing).toEqual({ strategy: 'means', segments: 3 })
    expect(output[2].cost.bytesReceived).toBe(3504)
    expect([machine.cores, versions.node, build]).toEqual([
      expect.any(Number),
      process.versions.node,
      expect.any(String),
    ])
    const lines = readFileSync(csv, 'utf8').trimEnd().split('\n')
    expect(lines).toHaveLength(4)
    expect(lines[3]).toContain('"{""strategy"":""means"",""segments"":3}"')
  })

  it('goes on after it was killed with what was not finished', async () => {
    const [out, whole] = [join(folder, 'killed'), join(folder, 'whole')]
    const found = firstCell(out)
    const child = start(...grid, '--out', out)
    await found
    expect((await child.end('SIGKILL')).signal).toBe('SIGKILL')
    const finished = readdirSync(out).filter(name => name.endsWith('.json'))
    expect(finished.length).toBeLessThan(5)
    const [again, anew] = [await evaluate(...grid, '--out', out, '--json'), await evaluate(...grid, '--out', whole)]
    expect([again.code, anew.code]).toEqual([0, 0])
    expect(JSON.parse(again.out).reused).toBe(finished.length)
    const answers = (dir: string, name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8')).columns
    const names = readdirSync(whole)
    expect(names).toHaveLength(5)
    for (const name of names) expect(answers(out, name)).toEqual(answers(whole, name))
  })

  it('leaves finished cells when it is interrupted', async () => {
    const out = join(folder, 'interrupted')
    const found = firstCell(out)
    const child = start(...grid, '--out', out)
    await found
    const { code, err } = await child.end('SIGINT')
    expect({ code, err }).toEqual({ code: 1, err: 'interrupted: finished cells are kept where --out was given\n' })
    expect(readdirSync(out).filter(name => name.endsWith('.json')).length).toBeGreaterThan(0)
  })

  it('takes cells from a file', async () => {
    const file = join(folder, 'grid.json')
    writeFileSync(file, JSON.stringify([{ devices: 3, sharing: { segments: 2, sink: 0 }, method: 'ours' }]))
    const { out } = await evaluate('image-classification', '--data', images, '--limit', '2', '--grid', file)
    expect(out).toMatch(/\none device +1 .*\nisolated +3 .*\nours +3 /)
  })

  it('says what is wrong', async () => {
    const refused = async (...args: string[]) => {
      const { code, err, out } = await evaluate(...args)
      expect(out).toBe('')
      return `${code} ${err}`
    }
    const data = ['--data', images]
    expect(await refused('translation', ...data)).toMatch(/^2 .*Tasks are image-classification, /)
    expect(await refused('image-classification')).toMatch(/^2 required option '--data/)
    expect(await refused('cloze', ...data)).toMatch(/^1 .*test_batch.bin/)
    expect(await refused('image-classification', ...data, '--split', 'dev')).toMatch(/^1 .* has no split dev/)
    expect(await refused('image-classification', ...data, '--devices', 'two')).toMatch(/^2 plan: devices is two/)
    for (const P of ['0', '-1'])
      expect(await refused('image-classification', ...data, '--devices', P)).toMatch(/^2 plan: devices is -?\d, not a/)
    expect(await refused('image-classification', ...data, '--vary', 'ordr=a,b')).toMatch(
      /^2 plan: there is no option ordr/,
    )
    expect(await refused('image-classification', ...data, '--items', '9')).toMatch(/^2 .*It is like 0-500/)
  })

  it('refuses options that would be ignored', async () => {
    const grid = join(folder, 'one.json')
    writeFileSync(grid, '[{ "devices": 2 }]')
    for (const [option, message] of [
      [['--window', '64'], '--window is for language-modelling, not for image-classification'],
      [['--continuation', '4'], '--continuation is for generation, not for'],
      [['--min-tokens', '9'], '--min-tokens is for sentence-similarity, text-classification, not for'],
      [['--grid', grid, '--segments', '3'], '--grid says how devices share: leave --segments out'],
      [['--seed', '3'], '--seed chooses the items of --limit'],
    ] as const) {
      const { code, err, out } = await evaluate('image-classification', '--data', images, ...option)
      expect({ code, out }).toEqual({ code: 2, out: '' })
      expect(err).toContain(message)
    }
    const { code, err } = await evaluate('sentence-similarity', '--data', images, '--pads', 'masked')
    expect([code, err]).toEqual([2, expect.stringContaining('--pads is for --pad-to')])
  })

  it('refuses to write where it cannot, before it computes', async () => {
    for (const [option, path, message] of [
      ['--csv', join(folder, 'never', 'a.csv'), `There is no folder ${join(folder, 'never')}`],
      ['--csv', folder, 'It is a folder'],
      ['--out', images, 'is a file; a folder is asked for'],
      ['--out', join(images, 'cells'), 'is a file; a folder is asked for'],
    ] as const) {
      const { code, err, out } = await evaluate('image-classification', '--data', images, option, path)
      expect({ code, out }).toEqual({ code: 2, out: '' })
      expect(err).toContain(message)
    }
    expect(existsSync(join(folder, 'never'))).toBe(false)
  })

  it('explains itself', async () => {
    const { code, out } = await evaluate('--help')
    expect(code).toBe(0)
    for (const said of ['image-classification', 'language-modelling', 'cloze', '--baselines', '--out <dir>', '--vary'])
      expect(out).toContain(said)
  })
})
