/**
 * Writes a model folder again with its matrices in f32, f16 or 8 bits:
 *
 *     X.weight        I8  as it was laid out, [out, in] or [in, out]     codes from −127 to 127
 *     X.weight_scale  F32 [out]                                          code · scale = value
 *
 * What loading would make matrices of is stored so, everything else keeps its values and, but for f32, its dtype. Loaded, the folder has
 * the bits that the folder it was made from has when it is loaded in that precision. Rows are read, converted and written a
 * few MB at a time.
 */
import { existsSync } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ModelFiles, readFile, readUses, type UsedTensor } from '@prismal/models'
import { createEngine, type Engine, fromBf16, fromF16, PRECISIONS, type Precision, toF16 } from '@prismal/tensor'
import { type Dtype, ELEMENT_BYTES, elementsOf } from './checkpoint.js'
import { codesOf, scaleOf, valuesOf, widen } from './eight-bits.js'
import { ConversionError } from './errors.js'
import { COMPANIONS } from './huggingface.js'
import { layOut } from './safetensors.js'

export { PRECISIONS, type Precision }

export interface StoreOptions {
  /** How matrices are stored. Default `q8`. */
  readonly dtype?: Precision
  /** Replaces a model that is there already. */
  readonly force?: boolean
}

/** What goes with the weights: tokenizers of every age, and golden results. */
const BESIDE = [
  ...COMPANIONS,
  ...['added_tokens.json', 'merges.txt', 'vocab.json', 'vocab.txt'],
  ...['cases.json', 'inputs.safetensors', 'outputs.safetensors'],
]
/** Values that are converted at a time. */
const VALUES = 1 << 20

/** What becomes of a stored tensor. */
interface Output {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly from: UsedTensor
  readonly isScale?: true
}
type Placed = Output & { readonly begin: number }

/**
 * Writes the model into a folder, made if need be; its weights come last under their name. Returns how many parameters and bytes of
 * weights it has. Throws `ModelError` for what does not load, `ConversionError` where a model is there already or a value does not fit,
 * and the file system's errors.
 */
export async function storeModel(
  files: ModelFiles,
  folder: string,
  { dtype = 'q8', force = false }: StoreOptions = {},
): Promise<{ parameters: number; bytes: number }> {
  const weights = join(folder, 'model.safetensors')
  if (existsSync(weights) && !force) throw new ConversionError(`${weights} is there already; --force replaces it`)
  const uses = await readUses(files)
  const outputs = uses.flatMap(tensor => outputsOf(tensor, dtype))
  const names = new Set<string>()
  for (const { name, dtype, isScale } of outputs) {
    if (!Object.hasOwn(ELEMENT_BYTES, dtype)) throw new ConversionError(`${name}: dtype ${dtype} is not written`)
    if (names.has(name))
      throw new ConversionError(`${name} is there already${isScale ? ', and no scale of codes' : ''}`)
    names.add(name)
  }
  const { front, sorted, end } = layOut(outputs, dtype === 'q8' ? 'prismal-q8' : 'pt')
  await mkdir(folder, { recursive: true })
  const unfinished = `${weights}.part`
  const engine = await createEngine()
  try {
    const file = await open(unfinished, 'w')
    try {
      await write(file, front, 0)
      const at = new Map(sorted.map(output => [output.name, output]))
      for (const tensor of uses) await new Conversion(files, uses, engine, tensor, at, file).run()
    } finally {
      await file.close()
    }
    for (const name of BESIDE)
      if ((await files.size(name)) !== undefined) await writeFile(join(folder, name), await readFile(files, name))
    await rename(unfinished, weights)
  } finally {
    engine.dispose()
    await rm(unfinished, { force: true })
    await files.close?.()
  }
  const parameters = outputs.reduce((sum, { shape, isScale }) => sum + (isScale ? 0 : elementsOf(shape)), 0)
  return { parameters, bytes: end }
}

function outputsOf(from: UsedTensor, precision: Precision): Output[] {
  const { storedName: name, shape, use, layout } = from
  const dtype = from.dtype as Dtype
  // Buffers and copies are no part of the model, and scales come with their codes.
  if (use === 'known' || use === 'scale') return []
  if (use === 'unused') return [{ name, dtype, shape, from }]
  if (use === 'tensor') return [{ name, dtype: precision === 'f32' ? 'F32' : dtype, shape, from }]
  if (precision !== 'q8') return [{ name, dtype: precision === 'f32' ? 'F32' : 'F16', shape, from }]
  const columns = (layout === 'out,in' ? shape[0] : shape[1]) as number
  return [
    { name, dtype: 'I8', shape, from },
    { name: `${name}_scale`, dtype: 'F32', shape: [columns], from, isScale: true },
  ]
}

/** One stored tensor on its way to its outputs. */
class Conversion {
  readonly #files: ModelFiles
  readonly #uses: readonly UsedTensor[]
  readonly #engine: Engine
  readonly #from: UsedTensor
  readonly #to: ReadonlyMap<string, Placed>
  readonly #file: FileHandle
  /** Values of a stored row. */
  readonly #width: number
  readonly #rowsAreColumns: boolean

  constructor(
    files: ModelFiles,
    uses: readonly UsedTensor[],
    engine: Engine,
    from: UsedTensor,
    to: ReadonlyMap<string, Placed>,
    file: FileHandle,
  ) {
    this.#files = files
    this.#uses = uses
    this.#engine = engine
    this.#from = from
    this.#to = to
    this.#file = file
    this.#width = from.use === 'matrix' ? elementsOf(from.shape.slice(1)) : 1
    this.#rowsAreColumns = from.layout === 'out,in'
  }

  async run(): Promise<void> {
    const { storedName, use, dtype: stored } = this.#from
    const to = this.#to.get(storedName)
    if (!to || use === 'known' || use === 'scale') return
    if (to.dtype === 'I8' && use === 'matrix') return stored === 'I8' ? this.#copyCodes(to) : this.#quantise(to)
    if (to.dtype === stored) return this.#copy(to)
    for await (const { values, first } of this.#rows()) {
      const bytes = to.dtype === 'F16' ? this.#halves(values, first) : bytesOf(values)
      await write(this.#file, bytes, to.begin + first * this.#width * ELEMENT_BYTES[to.dtype])
    }
  }

  async #copy(to: Placed): Promise<void> {
    for await (const { bytes, at } of this.#chunks()) await write(this.#file, bytes, to.begin + at)
  }
  async #copyCodes(to: Placed): Promise<void> {
    await this.#copy(to)
    await this.#writeScales(await this.#storedScales())
  }

  async #quantise(to: Placed): Promise<void> {
    const isColumn = this.#rowsAreColumns
    const most = new Float32Array(this.#from.shape[isColumn ? 0 : 1] as number)
    for await (const { values, first } of this.#rows()) widen(most, values, this.#width, first, isColumn)
    const bad = most.findIndex(value => !Number.isFinite(value))
    if (bad >= 0) throw this.#failure(`column ${bad} has a value that is not finite, for which there is no 8-bit code`)
    await this.#writeScales(most.map(scaleOf))
    for await (const { values, first } of this.#rows()) {
      const codes = codesOf(values, this.#width, first, most, isColumn)
      await write(this.#file, bytesOf(codes), to.begin + first * this.#width)
    }
  }

  async #writeScales(scales: Float32Array): Promise<void> {
    const to = this.#to.get(`${this.#from.storedName}_scale`) as Placed
    await write(this.#file, bytesOf(scales), to.begin)
  }

  /** The scales that are stored with codes; loading refuses the same ones. */
  async #storedScales(): Promise<Float32Array> {
    const name = `${this.#from.storedName}_scale`
    const scale = this.#uses.find(t => t.storedName === name) as UsedTensor
    const scales = this.#floats(scale.dtype, await this.#files.range(scale.file, scale.begin, scale.end))
    const bad = scales.findIndex(value => !(value >= 0 && value < Number.POSITIVE_INFINITY))
    if (bad >= 0) throw this.#failure(`its scale ${bad} is ${scales[bad]}; a scale is finite and not negative`)
    return scales
  }

  #halves(values: Float32Array, first: number): Uint8Array {
    const scope = this.#engine.scope()
    try {
      return bytesOf(
        toF16(scope.tensor(values, [values.length]))
          .data()
          .slice(),
      )
    } catch (cause) {
      throw this.#failure(`from row ${first} on: ${(cause as Error).message}`, { cause })
    } finally {
      scope.dispose()
    }
  }

  /** Whole rows as f32, a few MB at a time. */
  async *#rows(): AsyncGenerator<{ values: Float32Array; first: number }> {
    const { dtype } = this.#from
    const scales = dtype === 'I8' ? await this.#storedScales() : undefined
    for await (const { bytes, at } of this.#chunks()) {
      const first = at / (this.#width * ELEMENT_BYTES[dtype as Dtype])
      const codes = scales && new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length)
      yield codes
        ? { first, values: valuesOf(codes, this.#width, first, scales, this.#rowsAreColumns) }
        : { first, values: this.#floats(dtype, bytes) }
    }
  }

  async *#chunks(): AsyncGenerator<{ bytes: Uint8Array<ArrayBuffer>; at: number }> {
    const { file, begin, end, dtype } = this.#from
    const rowBytes = this.#width * (ELEMENT_BYTES[dtype as Dtype] ?? 1)
    const step = Math.max(1, Math.floor(VALUES / this.#width)) * rowBytes
    for (let at = begin; at < end; at += step)
      yield { bytes: await this.#files.range(file, at, Math.min(end, at + step)), at: at - begin }
  }

  #floats(dtype: string, bytes: Uint8Array<ArrayBuffer>): Float32Array {
    const whole = bytes.byteOffset === 0 ? bytes.buffer : bytes.slice().buffer
    if (dtype === 'F32') return new Float32Array(whole, 0, bytes.length / 4)
    const scope = this.#engine.scope()
    try {
      const halves = scope.empty([bytes.length / 2], 'f16')
      halves.write(new Uint16Array(whole, 0, bytes.length / 2))
      return (dtype === 'F16' ? fromF16(scope, halves) : fromBf16(scope, halves)).floats()
    } finally {
      scope.dispose()
    }
  }

  #failure(message: string, options?: ErrorOptions): ConversionError {
    const { file, storedName } = this.#from
    return new ConversionError(`${this.#files.location}/${file}: ${storedName}: ${message}`, options)
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)

async function write(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}
