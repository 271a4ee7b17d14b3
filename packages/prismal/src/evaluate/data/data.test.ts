import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { sharedFolder } from '../../../../../test/shared-folder.js'
import { readDocuments, TEXT_SPLITS } from './documents.js'
import { DataError } from './errors.js'
import { readImages } from './images.js'
import { classNumbers, readSentences } from './sentences.js'
import { namedSource, readSource, type Source } from './source.js'

const made: string[] = []
afterAll(() => made.forEach(path => void rmSync(path, { recursive: true })))

/** A folder of these files; names that end in .gz are packed. */
function folder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const path = mkdtempSync(join(tmpdir(), 'prismal-data-'))
  made.push(path)
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true })
    writeFileSync(join(path, name), name.endsWith('.gz') ? gzipSync(content) : content)
  }
  return path
}
const refusal = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(DataError)
    return (error as Error).message
  }
  throw new Error('nothing was refused')
}

const images = (location: string, split?: string) =>
  readImages(readSource(location, { split, extensions: ['.bin', '-ubyte'], splits: ['test'] }))
const table = (text: string, name = 'dev.tsv') => readSentences(source(name, text))
const source = (name: string, text: string, split?: string): Source => ({
  location: name,
  split,
  files: [{ path: name, name, bytes: new TextEncoder().encode(text) }],
})

/** A record of CIFAR-10: each plane counts on from a number of its own. */
const record = (label: number): Uint8Array =>
  Uint8Array.from({ length: 3073 }, (_, i) => (i === 0 ? label : (label + i + 7 * Math.floor((i - 1) / 1024)) % 256))

describe('a folder of data', () => {
  it('gives the files of a split, by their names or how these end', () => {
    const text = 'sentence\tlabel\na\t1\n'
    const path = folder({ 'dev.tsv': text, 'sts-test.tsv': text, 'msr_paraphrase_train.txt': text, SOURCE: 'x' })
    const names = (split?: string) =>
      readSource(path, { split, extensions: ['.tsv', '.txt'], splits: ['dev'] }).files.map(f => f.name)
    expect(names('test')).toEqual(['sts-test.tsv'])
    expect(names('train')).toEqual(['msr_paraphrase_train.txt'])
    expect(names()).toEqual(['dev.tsv'])
    expect(refusal(() => names('valid'))).toBe(
      `${path} has no split valid: its files are dev.tsv, msr_paraphrase_train.txt, sts-test.tsv`,
    )
  })

  it('says what it lacks', () => {
    const options = { extensions: ['.tsv'], splits: [] }
    expect(refusal(() => readSource('/nowhere', options))).toMatch('/nowhere does not exist')
    expect(refusal(() => readSource(folder({ 'a.csv': '' }), options))).toMatch('has no file that could be read')
    expect(refusal(() => readSource(folder({ 'a.tsv': '', 'b.tsv': '' }), options))).toMatch('a.tsv, b.tsv')
    const damaged = join(folder({}), 'a.tsv')
    writeFileSync(damaged, Uint8Array.of(0x1f, 0x8b, 1, 2, 3))
    expect(refusal(() => readSource(damaged, options))).toMatch('cannot be unpacked')
  })

  it('has the same digest packed and unpacked, and another for other bytes', () => {
    const digest = (files: Record<string, string>) =>
      namedSource(readSource(folder(files), { extensions: ['.tsv'], splits: [] })).digest
    expect(digest({ 'a.tsv.gz': 'x' })).toBe(digest({ 'a.tsv': 'x' }))
    expect(digest({ 'a.tsv': 'y' })).not.toBe(digest({ 'a.tsv': 'x' }))
  })
})

describe('pictures', () => {
  it("of CIFAR-10's layout are read across files, planes interleaved", () => {
    const [a, b, c] = [record(3), record(9), record(0)]
    const path = folder({ 'data_batch_1.bin': new Uint8Array([...a, ...b]), 'data_batch_2.bin.gz': c })
    const { count, labels, image } = images(path, 'train')
    expect([count, ...labels]).toEqual([3, 3, 9, 0])
    for (const [i, bytes] of [a, b, c].entries()) {
      const { width, height, channels, data } = image(i)
      expect([width, height, channels]).toEqual([32, 32, 3])
      for (const pixel of [0, 33, 1023])
        expect([...data.subarray(3 * pixel, 3 * pixel + 3)]).toEqual([0, 1, 2].map(p => bytes[1 + 1024 * p + pixel]))
    }
  })

  it("of CIFAR-10's layout may begin as MNIST's do", () => {
    const dark = Uint8Array.of(0, 0, 8, ...record(0).subarray(3))
    expect(images(folder({ 'test_batch.bin': new Uint8Array([...dark, ...record(5)]) }))).toMatchObject({ count: 2 })
  })

  it("of MNIST's layout are read with their labels", () => {
    const pixels = Uint8Array.from({ length: 2 * 6 }, (_, i) => i)
    const path = folder({
      't10k-images-idx3-ubyte.gz': Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, ...pixels),
      't10k-labels-idx1-ubyte': Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 7, 5),
    })
    const { count, labels, image } = images(path)
    expect([count, ...labels]).toEqual([2, 7, 5])
    expect(image(1)).toEqual({ width: 3, height: 2, channels: 1, data: pixels.subarray(6) })
  })

  it('that are cut off or something else are refused', () => {
    expect(refusal(() => images(folder({ 'test_batch.bin': record(1).subarray(1) })))).toMatch(
      '3072 bytes, which are not',
    )
    const cut = { 't10k-images-idx3-ubyte': Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1) }
    expect(refusal(() => images(folder(cut)))).toMatch('has 17 bytes where 2×2×3 need 28')
  })
})

describe('sentences', () => {
  it('are found by the names of columns', () => {
    expect(table('sentence\tlabel\r\na b \t1\r\n')).toEqual([{ text: 'a b ', label: '1' }])
    expect(table('index\tquestion\tsentence\tlabel\n0\tq?\ts.\tentailment\n')).toEqual([
      { text: 'q?', pair: 's.', label: 'entailment' },
    ])
    expect(table('\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\tx "y\tz\n')).toEqual([
      { text: 'x "y', pair: 'z', label: '1' },
    ])
    expect(table('index\tsentence1\tsentence2\tscore\n0\ta\tb\t4.750')[0]?.label).toBe('4.750')
  })

  it('are found by what columns hold, where they have no names', () => {
    expect(table('gj04\t1\t\tThey drank.\ngj04\t0\t*\tThey drank the.\n')[1]).toEqual({
      text: 'They drank the.',
      label: '0',
    })
    expect(table('2\tA.\tB.\tentailment\n7\tC.\tD.\tnot_entailment\n')[1]).toEqual({
      ...{ text: 'C.', pair: 'D.', label: 'not_entailment' },
    })
    expect(table('main\tMSRvid\t2012\t0024\t2.500\ta\tb\nmain\tMSRvid\t2012\t0033\t3\tc\td\tsource\n')[1]).toEqual({
      ...{ text: 'c', pair: 'd', label: '3' },
    })
  })

  it('without labels, columns or a known layout are refused', () => {
    expect(refusal(() => table('index\tsentence\n0\ta\n'))).toMatch('has no labels')
    expect(refusal(() => table('sentence\tlabel\n\n'))).toMatch('dev.tsv has no rows')
    expect(refusal(() => table('sentence\tlabel\na\t1\nb\n'))).toMatch('dev.tsv:3: 1 columns')
    expect(refusal(() => table('just some words\nand more\n'))).toMatch('its first row: just some words')
    expect(refusal(() => table('caf\xe9', 'x').length)).toMatch('not a table')
  })

  it('have classes by name, by number, or in alphabetical order', () => {
    expect(classNumbers(['1', '0'], ['different', 'paraphrase'], 2)).toEqual([1, 0])
    expect(classNumbers(['Yes', 'no'], ['no', 'yes'], 2)).toEqual([1, 0])
    expect(classNumbers(['not_entailment', 'entailment'], ['LABEL_0', 'LABEL_1'], 2)).toEqual([1, 0])
    expect(classNumbers(['yes ', 'no'], undefined, 2)).toEqual([1, 0])
    expect(refusal(() => classNumbers(['2'], ['a', 'b'], 2))).toMatch("none of the model's 2 classes")
  })

  it.each([
    ['one of two classes', ['not_entailment', 'not_entailment'], ['LABEL_0', 'LABEL_1'], 'not_entailment'],
    ['a name among others', ['same', 'different'], ['paraphrase', 'different'], 'same'],
    ['names of a model with one class more', ['a', 'b'], ['LABEL_0', 'LABEL_1', 'LABEL_2'], 'a'],
    ['numbers that are no classes', ['1.0', '0.0'], ['a', 'b'], '0.0'],
    ['nothing', ['', '?'], ['a', 'b'], ''],
    ['nothing among numbers', ['?', '0', '1'], undefined, '?'],
  ])('whose labels are %s are refused by the label', (_, labels, names, label) => {
    const message = refusal(() => classNumbers(labels, names, names?.length ?? 2))
    expect(message).toMatch(`label ${JSON.stringify(label)} is none of the model's`)
  })

  it('whose labels are −1 are unlabelled', () => {
    expect(refusal(() => classNumbers(['-1', '-1'], ['a', 'b'], 2))).toMatch('these texts are unlabelled')
  })
})

describe('texts', () => {
  it('are documents of a JSON list, or one text', () => {
    expect(readDocuments(source('d.json', '["a","b"]'))).toEqual(['a', 'b'])
    expect(readDocuments(source('d.txt', '["a","b"]'))).toEqual(['["a","b"]'])
    expect(refusal(() => readDocuments(source('d.json', '{"a":1}')))).toMatch('not a JSON list')
    expect(refusal(() => readDocuments(source('d.txt', '\n')))).toMatch('no text')
  })

  it("of WikiText's form are its articles, and nothing of it is lost", () => {
    const text = ' \n = A b = \n \n x\n = = Part = = \n y\n = C = \n z\n'
    const articles = readDocuments(source('test.txt', text))
    expect(articles).toHaveLength(2)
    expect(articles.join('')).toBe(text)
    expect(articles[1]).toBe(' = C = \n z\n')
  })

  it('are not cut within a character', () => {
    for (let length = 2; length < 40; length++) {
      const text = '😀'.repeat(length)
      const [first, last] = TEXT_SPLITS.map(split => readDocuments(source('input.txt', text, split)))
      for (const [part] of [first, last] as [string[], string[]]) expect(() => encodeURIComponent(part!)).not.toThrow()
      expect([first, last].flat().join('')).toBe(text)
    }
  })

  it('are cut into nine tenths and one, which together are the whole', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z ]{1,60}x$/), text => {
        const [first, last] = TEXT_SPLITS.map(split => readDocuments(source('input.txt', `${text}y`, split)))
        expect([first, last].flat().join('')).toBe(`${text}y`)
        expect((last as string[])[0]?.length).toBe(text.length + 1 - Math.floor(0.9 * (text.length + 1)))
      }),
    )
  })
})

const glue = sharedFolder('data/glue')
describe.skipIf(!glue)('GLUE as people have it', () => {
  it.each([
    ['CoLA', 'dev', false],
    ['MRPC', 'train', true],
    ['QNLI', 'dev', true],
    ['RTE', 'dev', true],
    ['RTE', 'val', true],
    ['SST-2', 'dev', false],
    ['STS-B', 'dev', true],
    ['STS-B', 'train', true],
    ['WNLI', 'dev', true],
  ])('%s %s is read whole', (task, split, hasPairs) => {
    const found = readSource(join(glue!, task), { split, extensions: ['.tsv', '.txt'], splits: ['dev'] })
    const rows = readSentences(found)
    expect(rows.length).toBeGreaterThan(60)
    expect(rows.every(r => r.text.length > 0 && r.label.length > 0 && (r.pair !== undefined) === hasPairs)).toBe(true)
    const labels = new Set(rows.map(r => r.label))
    if (task === 'STS-B') expect([...labels].every(l => Number(l) >= 0 && Number(l) <= 5)).toBe(true)
    else expect(labels.size).toBe(2)
  })
  it('STS-B is the same in both its layouts', () => {
    const open = (name: string) => readSource(join(glue!, 'STS-B', name), { extensions: [], splits: [] })
    const [a, b] = ['dev.tsv', 'sts-dev.tsv'].map(name => readSentences(open(name))) as [never[], never[]]
    expect(b.length).toBe(a.length)
    expect(b.slice(0, 50)).toEqual(a.slice(0, 50))
  })
})
