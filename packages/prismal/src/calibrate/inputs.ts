/** Inputs for calibration as people have them: folders and files of images, records of CIFAR, lines of text, lists of texts. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { InputError, type TextInput } from '@prismal/models'
import { cifarImage, RECORD_BYTES } from '../evaluate/data/images.js'
import type { ImageInput } from '../images.js'
import type { Task } from '../locate.js'

/** An input of a task, or two texts that are compared. */
export type CalibrationInput = ImageInput | TextInput | readonly [string, string]

const isImageFile = (path: string): boolean => /^\.(png|jpe?g)$/i.test(extname(path))

/** What the files and folders hold, at most `limit` inputs, spread over all of them. Throws `InputError` naming what is not understood. */
export function readInputs(task: Task, paths: readonly string[], limit: number): CalibrationInput[] {
  const read = (path: string): CalibrationInput[] => {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (!stats) throw new InputError(`${path} does not exist`)
    if (stats.isDirectory())
      return readdirSync(path)
        .sort()
        .flatMap(name => ofFolder(task, join(path, name)))
    return ofFile(task, path)
  }
  const all = paths.flatMap(read)
  if (all.length === 0) throw new InputError(`there are no inputs for ${task} in ${paths.join(', ')}`)
  // A text is cut into windows later.
  if (all.length <= limit || task === 'text-generation') return all
  return Array.from({ length: limit }, (_, i) => all[Math.floor((i * all.length) / limit)] as CalibrationInput)
}

/** Other files may lie beside the inputs in a folder. */
const ofFolder = (task: Task, path: string): CalibrationInput[] =>
  (task === 'image-classification' ? isImageFile(path) : /\.(txt|tsv|json)$/i.test(path)) ? ofFile(task, path) : []

function ofFile(task: Task, path: string): CalibrationInput[] {
  if (task === 'image-classification') {
    if (isImageFile(path)) return [path]
    if (/\.bin(\.gz)?$/i.test(path)) return cifarRecords(path)
    throw new InputError(
      `${path} is not known to hold images (read here: .png, .jpg, folders of them, .bin as CIFAR has it)`,
    )
  }
  const text = readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  if (/\.json$/i.test(path)) return listOf(path, text)
  if (task === 'text-generation') return [text]
  return text
    .split(/\r?\n/)
    .filter(Boolean)
    .map(line => ofLine(task, line))
}

/** A line is one text, or two with a tab between them. */
function ofLine(task: Task, line: string): CalibrationInput {
  const [text = '', pair] = line.split('\t')
  if (pair === undefined) return text
  return task === 'feature-extraction' ? [text, pair] : { text, text_pair: pair }
}

function listOf(path: string, text: string): CalibrationInput[] {
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch (cause) {
    throw new InputError(`${path} is not JSON: ${(cause as Error).message}`, { cause })
  }
  if (Array.isArray(list) && list.every(v => typeof v === 'string')) return list
  throw new InputError(`${path} is not a list of texts`)
}

function cifarRecords(path: string): CalibrationInput[] {
  const file = readFileSync(path)
  const bytes = /\.gz$/i.test(path) ? gunzipSync(file) : file
  if (bytes.length === 0 || bytes.length % RECORD_BYTES !== 0)
    throw new InputError(`${path} has ${bytes.length} bytes: not records of ${RECORD_BYTES} (CIFAR-10's binary layout)`)
  return Array.from({ length: bytes.length / RECORD_BYTES }, (_, i) =>
    cifarImage(bytes.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES)),
  )
}
