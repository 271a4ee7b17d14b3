/** Finds a model's weights by their canonical names, whatever prefix and dtype they were published with. */
import { copyValues, type Matrix, OperandError, type Precision, type Scope, type Tensor } from '@prismal/tensor'
import { ModelError } from '../errors.js'
import { type ModelFiles, readJson } from '../files.js'
import { packerOf } from './packer.js'
import { headerLength, parseHeader, type StoredTensor, type TensorEntry } from './safetensors.js'
import { ColumnScales } from './scales.js'
import { digestOf, type Ends, isFloat, type Job, type ReadOptions, readJobs, Staging } from './streaming.js'

/** How a family's names vary, and which stored tensors are known not to be needed. */
export interface Naming {
  /** Stripped from the front of a stored name. */
  readonly prefixes: readonly string[]
  /** Tensors that checkpoints carry but no model needs (buffers, copies of tied weights). */
  readonly ignored: readonly RegExp[]
}

/** How a matrix is stored: [out, in], as Linear has it, or [in, out], as Conv1D. */
export type Layout = 'in,out' | 'out,in'

/** A stored tensor, and what a model makes of it. */
export interface UsedTensor extends StoredTensor {
  /** `known`: a buffer or a copy that models do without. */
  readonly use: 'matrix' | 'tensor' | 'scale' | 'known' | 'unused'
  /** Of a matrix. */
  readonly layout?: Layout
}

/** How stored weights make a matrix [k, n·sources]. */
export interface MatrixForm {
  readonly k: number
  /** Columns that each source gives. */
  readonly n: number
  /** `'out,in'` (default): stored [n, k]. `'in,out'`: stored [k, n]; of one source only. */
  readonly layout?: Layout
  /** The name of the bias; true (default): `stem.bias` of each source; false: none. */
  readonly bias?: boolean | string
  /** Where only some of the stored columns are taken: n of `of`, from `from` on. For `'in,out'`. */
  readonly columns?: { readonly from: number; readonly of: number }
  /** What is stored, where it has more dimensions than [n, k]. */
  readonly stored?: readonly number[]
}

/**
 * Made in two steps. A family asks for its tensors and matrices: they get their memory, and whatever is missing or of
 * another shape is refused. Then `read()` streams the files once, front to back, and fills them.
 */
export class WeightReader {
  /** How matrices are stored in the engine. */
  readonly precision: Precision
  readonly #files: ModelFiles
  readonly #scope: Scope
  readonly #jobs: ReadonlyMap<string, Job>
  readonly #naming: Naming
  readonly #staging: Staging
  /** Along which dimension of stored matrices their columns lie. */
  readonly #layouts = new Map<Job, Layout>()
  #ends: ReadonlyMap<StoredTensor, Ends> = new Map()

  private constructor(
    files: ModelFiles,
    scope: Scope,
    jobs: ReadonlyMap<string, Job>,
    naming: Naming,
    precision: Precision,
  ) {
    this.precision = precision
    this.#files = files
    this.#scope = scope
    this.#jobs = jobs
    this.#naming = naming
    // Before any weights: at the low end of the memory, where requests find its place again.
    this.#staging = new Staging(scope, [...jobs.values()])
  }

  /**
   * Over what `headers` name; default: those of all shards, which are then read. Matrices are stored as `precision` says. Throws {@link ModelError} for missing,
   * truncated or damaged files.
   */
  static async open(
    files: ModelFiles,
    scope: Scope,
    naming: Naming,
    { headers, precision = 'f32' }: { headers?: readonly StoredTensor[]; precision?: Precision } = {},
  ): Promise<WeightReader> {
    const jobs = new Map<string, Job>()
    for (const entry of headers ?? (await readHeaders(files))) {
      const name = canonical(entry.storedName, naming.prefixes)
      const twin = jobs.get(name)?.entry
      if (twin) throw new ModelError(`${files.location}: ${twin.storedName} and ${entry.storedName} are both ${name}`)
      jobs.set(name, { entry, receivers: [] })
    }
    return new WeightReader(files, scope, jobs, naming, precision)
  }

  has(name: string): boolean {
    return this.#jobs.has(name)
  }
  /** Shape of a stored tensor, or undefined. */
  shape(name: string): readonly number[] | undefined {
    return this.#jobs.get(name)?.entry.shape
  }

  /**
   * A tensor as f32, of `shape` (its elements in stored order); `read()` gives it its values. Throws {@link ModelError}
   * naming what does not fit.
   */
  tensor(name: string, shape: readonly number[]): Tensor {
    const job = this.#claim(name, shape)
    const tensor = this.#scope.empty(shape)
    job.receivers.push({ width: 1, add: (rows, first) => copyValues(tensor, rows, first * rows.columns) })
    return tensor
  }

  /**
   * The packed matrix of `stem.weight`, or of several, whose columns then lie side by side (a fused key|value
   * projection); `read()` gives it its values. What is stored as 8-bit codes brings `stem.weight_scale`, the scale of each
   * column. Throws {@link ModelError} naming what does not fit.
   */
  matrix(stem: string | readonly string[], form: MatrixForm): Matrix {
    const { k, n, layout = 'out,in', bias = true, columns } = form
    const stems = typeof stem === 'string' ? [stem] : stem
    if (layout === 'in,out' && stems.length > 1)
      throw new OperandError(`matrix: ${stems.join(', ')} are stored [in, out]; only [out, in] can be joined`)
    const width = layout === 'out,in' ? k : (columns?.of ?? n)
    const stored = form.stored ?? (layout === 'out,in' ? [n, k] : [k, width])
    const jobs = stems.map(stem => this.#claim(`${stem}.weight`, stored, true))
    for (const job of jobs) this.#layouts.set(job, layout)
    const biases = bias === true ? stems.map(stem => `${stem}.bias`) : bias ? [bias] : undefined
    const packer = packerOf(this.#scope, k, n * stems.length, biases && this.#bias(biases, n, columns), this.precision)
    const scales = new ColumnScales(packer.matrix)
    for (const [i, stem] of stems.entries())
      if (jobs[i]?.entry.dtype === 'I8') {
        const scale = this.#claim(`${stem}.weight_scale`, [columns?.of ?? n])
        scale.receivers.push(scales.receiver(this.#where(scale.entry), columns?.from ?? 0, n, i * n))
      }
    let [begun, ended] = [0, 0]
    for (const [i, job] of jobs.entries())
      job.receivers.push({
        width,
        begin: () => begun++ === 0 && packer.begin(),
        add: (rows, first) => {
          if (layout === 'out,in') packer.addColumns(rows, i * n + first)
          else packer.addLines(columns ? rows.slab(columns.from, columns.from + n) : rows, first)
        },
        end: () => {
          if (++ended < jobs.length) return
          packer.end()
          scales.quantised()
        },
      })
    return packer.matrix
  }

  /** n values of each source, one after another. */
  #bias(names: readonly string[], n: number, columns: MatrixForm['columns']): Tensor {
    const jobs = names.map(name => this.#claim(name, [columns?.of ?? n]))
    const bias = this.#scope.empty([n * names.length])
    for (const [i, job] of jobs.entries())
      job.receivers.push({
        width: columns?.of ?? 1,
        add: (rows, first) =>
          columns
            ? copyValues(bias, rows.slab(columns.from, columns.from + n), i * n)
            : copyValues(bias, rows, i * n + first * rows.columns),
      })
    return bias
  }

  /**
   * Streams what was asked for, in the order of the files, and gives the staging memory back. Throws {@link ModelError}
   * for files that are truncated or cannot be read, and the signal's reason once it aborts.
   */
  async read(options: ReadOptions = {}): Promise<void> {
    try {
      this.#ends = await readJobs(this.#files, [...this.#jobs.values()], this.#staging, options)
    } finally {
      this.#staging.dispose()
    }
  }

  /**
   * SHA-256 over config.json and over every tensor's name, dtype, shape and first and last bytes, which `read()` has
   * seen: cheap, and different for any two models that were trained apart.
   */
  async digest(config: unknown): Promise<string> {
    return digestOf(
      config,
      [...this.#jobs].map(([name, { entry }]) => [name, entry] as const),
      this.#ends,
    )
  }

  /** Stored names that nothing asked for and that are not known buffers. */
  unused(): string[] {
    return [...this.#jobs]
      .filter(([name, job]) => job.receivers.length === 0 && !this.#naming.ignored.some(pattern => pattern.test(name)))
      .map(([, job]) => job.entry.storedName)
  }

  /** Every stored tensor, and what was asked of it. */
  uses(): UsedTensor[] {
    return [...this.#jobs].map(([name, job]): UsedTensor => {
      const layout = this.#layouts.get(job)
      if (layout) return { ...job.entry, use: 'matrix', layout }
      if (job.receivers.length > 0) return { ...job.entry, use: name.endsWith(SCALE) ? 'scale' : 'tensor' }
      return { ...job.entry, use: this.#naming.ignored.some(pattern => pattern.test(name)) ? 'known' : 'unused' }
    })
  }

  #where(entry: StoredTensor): string {
    return `${this.#files.location}/${entry.file}: ${entry.storedName}`
  }

  #claim(name: string, shape: readonly number[], mayBeCodes = false): Job {
    const job = this.#jobs.get(name)
    if (!job) throw new ModelError(`${this.#files.location}: the weights lack ${name}`)
    const { entry } = job
    const where = this.#where(entry)
    const same = entry.shape.length === shape.length && entry.shape.every((n, i) => n === shape[i])
    if (!same) throw new ModelError(`${where} is [${entry.shape}] where config.json asks for [${shape}]`)
    if (!isFloat(entry.dtype) && !(mayBeCodes && entry.dtype === 'I8'))
      throw new ModelError(
        `${where} has dtype ${entry.dtype}; weights are F32, F16 or BF16${entry.dtype === 'I8' ? ', and I8 only where they are matrices' : ''}`,
      )
    return job
  }
}

/** How the names of scales end, whose codes are called `….weight`. */
const SCALE = '.weight_scale'

/** Whether a stored tensor holds the scales of codes that are stored too. */
export const isScale = ({ storedName }: StoredTensor, stored: readonly StoredTensor[]): boolean =>
  storedName.endsWith(SCALE) && stored.some(t => t.dtype === 'I8' && t.storedName === storedName.replace(/_scale$/, ''))

/** The precision that files ask for: 8 bits where a matrix is stored so, f32 where none is. */
export function storedPrecision(headers: readonly StoredTensor[]): { precision: Precision; codes?: StoredTensor } {
  const codes = headers.find(({ dtype, storedName }) => dtype === 'I8' && storedName.endsWith('.weight'))
  return codes ? { precision: 'q8', codes } : { precision: 'f32' }
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
