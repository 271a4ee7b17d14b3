/** Checkpoint files of any kind that is read, and model folders. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { ConvertedModel, StateDict } from './checkpoint.js'
import { CheckpointError, ConversionError } from './errors.js'
import { readMingptJson } from './mingpt.js'
import { readPytorch } from './pytorch.js'
import { readSafetensors, safetensorsPieces } from './safetensors.js'
import { looksLikeZip } from './zip.js'

/** A checkpoint, and how it is packed. */
export interface Checkpoint {
  readonly container: 'pytorch' | 'safetensors' | 'json'
  readonly tensors: StateDict
  /** Attention heads, where the file tells. */
  readonly heads?: number
}

const OPENING_BRACE = 0x7b
const PICKLE_PROTOCOL = 0x80

/**
 * Reads a file by what is in it, whatever its name ends in.
 * Throws `CheckpointError`, `RefusedGlobalError`, and the file system's errors.
 */
export function readCheckpoint(path: string): Checkpoint {
  if (statSync(path).isDirectory())
    throw new CheckpointError(
      `${path} is a folder, not a checkpoint file: prismal inspect tells what a model folder holds`,
    )
  const file = readFileSync(path)
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength)
  if (looksLikeZip(bytes)) return { container: 'pytorch', tensors: readPytorch(bytes) }
  if (bytes[0] === OPENING_BRACE) return { container: 'json', ...readMingptJson(file.toString()) }
  // A safetensors header is an object, behind the eight bytes that give its length.
  if (bytes[8] === OPENING_BRACE) return { container: 'safetensors', tensors: readSafetensors(bytes) }
  if (bytes[0] === PICKLE_PROTOCOL)
    throw new CheckpointError(`${path} is a checkpoint from before PyTorch 1.6; load it there and save it again`)
  const first = [...bytes.subarray(0, 4)].map(byte => byte.toString(16).padStart(2, '0')).join(' ')
  throw new CheckpointError(
    `${path} is no checkpoint (first bytes: ${first || 'none'}; read: PyTorch zip, safetensors)`,
  )
}

/**
 * Writes a model folder, made if need be. The weights come last and under their name only once they are whole, so that a
 * folder with a `model.safetensors` is a complete one. Throws `ConversionError` if there is one already and not `force`.
 */
export function writeModelFolder(folder: string, model: ConvertedModel, { force = false } = {}): void {
  const weights = join(folder, 'model.safetensors')
  if (existsSync(weights) && !force) throw new ConversionError(`${weights} is there already; --force replaces it`)
  mkdirSync(folder, { recursive: true })
  const unfinished = `${weights}.part`
  try {
    const file = openSync(unfinished, 'w')
    try {
      for (const piece of safetensorsPieces(model.tensors)) writeFileSync(file, piece)
    } finally {
      closeSync(file)
    }
    for (const [name, content] of Object.entries(model.files))
      writeFileSync(join(folder, name), `${JSON.stringify(content, null, 2)}\n`)
    renameSync(unfinished, weights)
  } finally {
    rmSync(unfinished, { force: true })
  }
}
