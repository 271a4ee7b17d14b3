/** Reads a model's weights by their canonical names into an engine, whatever prefix and dtype they were published with. */
import { fromBf16, fromF16, type Matrix, pack, type Scope, type Tensor } from '@prismal/tensor'
import { ModelError } from '../errors.js'
import { type ModelFiles, readJson } from '../files.js'
import { headerLength, parseHeader, type TensorEntry } from './safetensors.js'

export interface StoredTensor extends TensorEntry {
  readonly file: string
  readonly storedName: string
}

/** How a family's names vary, and which stored tensors are known not to be needed. */
export interface Naming {
  /** Stripped from the front of a stored name. */
  readonly prefixes: readonly string[]
  /** Tensors that checkpoints carry but no model needs (buffers, copies of tied weights). */
  readonly ignored: readonly RegExp[]
}

export class WeightReader {
  readonly #files: ModelFiles
  readonly #scope: Scope
  readonly #tensors: ReadonlyMap<string, StoredTensor>
  readonly #naming: Naming
  readonly #used = new Set<string>()

  private constructor(files: ModelFiles, scope: Scope, tensors: ReadonlyMap<string, StoredTensor>, naming: Naming) {
    this.#files = files
    this.#scope = scope
    this.#tensors = tensors
    this.#naming = naming
  }

  /**
   * Over what `headers` name; default: those of all shards, which are then read. Throws {@link ModelError} for missing,
   * truncated or damaged files.
   */
  static async open(
    files: ModelFiles,
    scope: Scope,
    naming: Naming,
    headers?: readonly StoredTensor[],
  ): Promise<WeightReader> {
    const tensors = new Map<string, StoredTensor>()
    for (const stored of headers ?? (await readHeaders(files))) {
      const name = canonical(stored.storedName, naming.prefixes)
      const twin = tensors.get(name)
      if (twin) throw new ModelError(`${files.location}: ${twin.storedName} and ${stored.storedName} are both ${name}`)
      tensors.set(name, stored)
    }
    return new WeightReader(files, scope, tensors, naming)
  }

  has(name: string): boolean {
    return this.#tensors.has(name)
  }
  /** Shape of a stored tensor, or undefined. */
  shape(name: string): readonly number[] | undefined {
    return this.#tensors.get(name)?.shape
  }

  /**
   * SHA-256 over config.json and over every tensor's name, dtype, shape and first and last bytes: cheap, and different
   * for any two models that were trained apart.
   */
  async digest(config: unknown): Promise<string> {
    const lines = [JSON.stringify(config)]
    for (const [name, entry] of [...this.#tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const { file, begin, end } = entry
      const head = await this.#files.range(file, begin, Math.min(end, begin + 64))
      const tail = await this.#files.range(file, Math.max(begin, end - 64), end)
      lines.push(`${name} ${entry.dtype} [${entry.shape}] ${head.join()} ${tail.join()}`)
    }
    const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(lines.join('\n')))
    return Array.from(new Uint8Array(hash), b => b.toString(16).padStart(2, '0')).join('')
  }

  /** A tensor as f32, of `shape` (its elements in stored order). Throws {@link ModelError} naming what does not fit. */
  async tensor(name: string, shape: readonly number[]): Promise<Tensor> {
    const entry = this.#entry(name)
    const where = `${this.#files.location}/${entry.file}: ${entry.storedName}`
    const same = entry.shape.length === shape.length && entry.shape.every((n, i) => n === shape[i])
    if (!same) throw new ModelError(`${where} is [${entry.shape}] where config.json asks for [${shape}]`)
    this.#used.add(name)
    const scope = this.#scope
    const bytes = await this.#bytes(entry)
    if (entry.dtype === 'F32') return scope.tensor(new Float32Array(bytes.buffer), shape)
    if (entry.dtype !== 'F16' && entry.dtype !== 'BF16')
      throw new ModelError(`${where} has dtype ${entry.dtype}; weights are F32, F16 or BF16`)
    const half = scope.tensor(new Uint16Array(bytes.buffer), shape)
    const tensor = (entry.dtype === 'F16' ? fromF16 : fromBf16)(scope, half)
    half.dispose()
    return tensor
  }

  /** `name.weight` (and `name.bias` where `bias` asks for it) as a packed matrix. Layouts as {@link pack} has them. */
  async matrix(name: string, k: number, n: number, layout: 'in,out' | 'out,in', bias: boolean): Promise<Matrix> {
    const weight = await this.tensor(`${name}.weight`, layout === 'in,out' ? [k, n] : [n, k])
    const matrix = pack(this.#scope, weight, layout, bias ? await this.tensor(`${name}.bias`, [n]) : undefined)
    weight.dispose()
    return matrix
  }

  /** A matrix whose columns are those of several stored ones, side by side (a fused key|value projection). */
  async fused(names: readonly string[], k: number, n: number, bias: boolean): Promise<Matrix> {
    const scope = this.#scope
    const together = scope.empty([names.length * n, k])
    for (const [i, name] of names.entries()) {
      const weight = await this.tensor(`${name}.weight`, [n, k])
      together.write(weight.floats(), i * n)
      weight.dispose()
    }
    let joined: Tensor | undefined
    if (bias) {
      joined = scope.empty([names.length, n])
      for (const [i, name] of names.entries()) {
        const part = await this.tensor(`${name}.bias`, [n])
        joined.write(part.floats(), i)
        part.dispose()
      }
      joined = joined.reshape([names.length * n])
    }
    const matrix = pack(scope, together, 'out,in', joined)
    together.dispose()
    return matrix
  }

  /** Stored names that nothing asked for and that are not known buffers. */
  unused(): string[] {
    return [...this.#tensors]
      .filter(([name]) => !this.#used.has(name) && !this.#naming.ignored.some(pattern => pattern.test(name)))
      .map(([, entry]) => entry.storedName)
  }

  /** A tensor's bytes. A rehearsal has no use for them: none are read. */
  async #bytes({ file, begin, end }: StoredTensor): Promise<Uint8Array<ArrayBuffer>> {
    return this.#scope.engine.rehearses ? new Uint8Array(end - begin) : this.#files.range(file, begin, end)
  }

  #entry(name: string): StoredTensor {
    const entry = this.#tensors.get(name)
    if (!entry) throw new ModelError(`${this.#files.location}: the weights lack ${name}`)
    return entry
  }
}

/** `bert.encoder.…LayerNorm.gamma` → `encoder.…LayerNorm.weight`. */
function canonical(stored: string, prefixes: readonly string[]): string {
  const prefix = prefixes.find(p => stored.startsWith(p))
  return (prefix ? stored.slice(prefix.length) : stored).replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias')
}

/** Every stored tensor of all weight files. Throws {@link ModelError} for missing, truncated or damaged files. */
export async function readHeaders(files: ModelFiles): Promise<StoredTensor[]> {
  const stored: StoredTensor[] = []
  for (const file of await weightFiles(files))
    for (const [storedName, entry] of await readHeader(files, file)) stored.push({ ...entry, file, storedName })
  return stored
}

async function readHeader(files: ModelFiles, file: string): Promise<Map<string, TensorEntry>> {
  const where = `${files.location}/${file}`
  const size = await files.size(file)
  if (size === undefined) throw new ModelError(`${where} does not exist`)
  const length = headerLength(await files.range(file, 0, Math.min(8, size)), size, where)
  return parseHeader(await files.range(file, 8, 8 + length), size, where)
}

/** model.safetensors, the shards that an index names, or the folder's only safetensors file. */
async function weightFiles(files: ModelFiles): Promise<readonly string[]> {
  if ((await files.size('model.safetensors')) !== undefined) return ['model.safetensors']
  const index = await readJson(files, 'model.safetensors.index.json')
  if (index) {
    const map = index.weight_map
    // A shard lies beside its index: a path that leads elsewhere is not one.
    const isName = (file: unknown): boolean => typeof file === 'string' && /^[\w.-]+$/.test(file)
    if (typeof map !== 'object' || map === null || !Object.values(map).every(isName))
      throw new ModelError(`${files.location}/model.safetensors.index.json has no weight_map of file names`)
    return [...new Set(Object.values(map as Record<string, string>))].sort()
  }
  const found = ((await files.list?.()) ?? []).filter(f => f.endsWith('.safetensors'))
  const [only] = found
  if (only && found.length === 1) return [only]
  const also = found.length > 1 ? `; ${found.join(', ')} are there: which is meant?` : ''
  throw new ModelError(`${files.location} has neither model.safetensors nor model.safetensors.index.json${also}`)
}
