/** `pipeline(task, model, options)`: everything a task needs, from a model's location. */
import type { Cluster } from '@prismal/distribute'
import {
  aloneRunner,
  type BatchPipeline,
  type ClassifyOptions,
  type ClassifyTextOptions,
  type EncodeOptions,
  encodeText,
  endedBy,
  type FeatureOptions,
  type Filled,
  type FillMaskOptions,
  featureExtraction,
  fillMask,
  type GenerationPipeline,
  givenOptions,
  givenSides,
  InputError,
  imageClassification,
  type Label,
  type LoadProgress,
  loadModel,
  loadTokenizer,
  type Model,
  ModelError,
  type ModelFiles,
  type NumberArray,
  type Part,
  type Pipeline,
  parsePreprocessor,
  patchify,
  preprocess,
  type Runner,
  readJson,
  type TextInput,
  type Tokenizer,
  textClassification,
  textGeneration,
  type VitShape,
} from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import {
  type Build,
  type Capabilities,
  createEngine,
  haveWorkers,
  type ModuleSource,
  type Precision,
  type ThreadScript,
} from '@prismal/tensor'
import { disposal } from './disposal.js'
import { type ImageInput, readImage } from './images.js'
import { locateModel, TASKS, type Task } from './locate.js'
import { addressesOf, type ModelSource, placeOrFiles } from './model-source.js'
import { remotePipeline, StartError } from './worker/remote.js'

export interface PipelineOptions {
  /** Devices that share each request, from `cluster()`; default: this one alone. */
  readonly devices?: Cluster
  /** Default `auto`: the fastest build that this runtime has. */
  readonly backend?: 'auto' | Build
  /** The wasm build to run, where it is not to be found beside this file: a `Module`, its bytes, or where they are. */
  readonly module?: ModuleSource
  /** How weight matrices are stored in memory: `f32`, `f16` or `q8`. Default: `f32`, or `q8` where the files are stored in 8 bits. */
  readonly dtype?: Precision
  /**
   * Threads that compute, up to the machine's cores, or `'auto'`: all of them, or one where the runtime has no threads that
   * share memory. Default: 1.
   */
  readonly threads?: number | 'auto'
  /** Most bytes that weights and requests may use together. */
  readonly memoryLimitBytes?: number
  /**
   * Load and compute in a worker, so that this thread stays responsive: it only passes messages, and the pipeline is used
   * as any other. Costs the memory of a thread (10 to 20 MB) and about 0.5 ms a call; inputs are copied. Where the runtime
   * has no workers the pipeline computes here and `capabilities().reasons` says so. Not with `devices`. Default: false.
   */
  readonly worker?: boolean
  /** The script of that worker, where `pipeline-worker.js` is not to be found beside this file, or what starts it. */
  readonly workerScript?: ThreadScript
  /** Told about stored tensors that are not used; default `console.warn`. */
  readonly warn?: (message: string) => void
  /** Told after each megabyte of the weights, and after the last byte. */
  readonly progress_callback?: (info: ProgressInfo) => void
  /** Ends loading with the signal's reason. Each call takes a signal of its own. */
  readonly signal?: AbortSignal
}

/** How far loading is, as transformers.js tells it. */
export interface ProgressInfo {
  readonly status: 'progress'
  /** The model's folder or URL. */
  readonly name: string
  /** The file that is being read. */
  readonly file: string
  /** Percent. */
  readonly progress: number
  /** Bytes of the weights' files that the model uses: how many are loaded, and all. */
  readonly loaded: number
  readonly total: number
}

/** What a pipeline runs on, and why not on something faster or elsewhere. */
export interface PipelineCapabilities extends Capabilities {
  /** How weight matrices are stored in memory. */
  readonly dtype: Precision
  /** Whether it runs in a worker; what is told is then as of its last answer. */
  readonly worker: boolean
}
interface Telling {
  capabilities(): PipelineCapabilities
  /** As `dispose()`: `await using tool = await pipeline(…)`. Where the runtime has no such symbol, it is not there. */
  [Symbol.asyncDispose](): Promise<void>
}
/** What a pipeline gives its model. */
interface Reading<Input> {
  readonly task: Task
  /** The sequence that the model is given for an input, a text cut as it is told. Throws `UnavailableError` where the pipeline is in a worker. */
  sequence(input: Input, cut?: Pick<EncodeOptions, 'maxTokens'>): Promise<Part>
}

export interface Pipelines {
  'image-classification': BatchPipeline<ImageInput, ClassifyOptions, Label[]> & Telling & Reading<ImageInput>
  'feature-extraction': Pipeline<string | readonly string[], FeatureOptions, NumberArray | NumberArray[]> &
    Telling &
    Reading<string>
  'text-classification': BatchPipeline<TextInput, ClassifyTextOptions, Label[]> & Telling & Reading<TextInput>
  'fill-mask': BatchPipeline<string, FillMaskOptions, Filled[]> & Telling & Reading<string>
  'text-generation': GenerationPipeline & Telling & Reading<string>
}

/** Those of {@link PipelineOptions} beside `signal`. */
const OPTIONS: readonly string[] = [
  ...['devices', 'backend', 'module', 'dtype', 'threads', 'memoryLimitBytes'],
  ...['worker', 'workerScript', 'warn', 'progress_callback'],
]

/**
 * Loads a model and what goes with it. `source` is a folder, a URL or an installed package, its files (`memoryFiles`), or
 * the URLs of its files, as model packages export them; files are closed afterwards. Absent, it is the task's default.
 * Throws `ModelError` where it does not fit the task, `InputError` for options that are none, and with `worker` a
 * `WorkerError` where the worker fails. What is thrown in a worker is thrown here, with the same class and code.
 */
export async function pipeline<T extends Task>(
  task: T,
  source?: ModelSource | null,
  given?: PipelineOptions | null,
): Promise<Pipelines[T]> {
  if (!TASKS.includes(task)) throw new InputError(`task "${task}" is unknown (${TASKS.join(', ')})`)
  const options = givenOptions(given, OPTIONS)
  const model = placeOrFiles(source)
  const { worker = false, devices } = options
  if (typeof worker !== 'boolean') throw new InputError(`worker is ${JSON.stringify(worker)}, not true or false`)
  if (!worker) return inThisThread(task, model, options, [])
  if (devices)
    throw new InputError(
      'devices and worker were both given: devices are joined from the thread that has them, so choose one',
    )
  const place = typeof model === 'object' ? addressesOf(source) : model
  if (typeof model === 'object' && !place)
    throw new InputError('files and worker were both given: a worker opens the model itself, so name its folder or URL')
  const inline = (why: string) => inThisThread(task, model, options, [`worker: none, as ${why}`])
  if (!haveWorkers()) return inline('this runtime has no workers')
  try {
    return await remotePipeline(task, place, options)
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    return inline(`it could not be started: ${error.message}`)
  }
}

/** `reasons` are told with the engine's. */
async function inThisThread<T extends Task>(
  task: T,
  model: string | ModelFiles | undefined,
  options: PipelineOptions,
  reasons: readonly string[],
): Promise<Pipelines[T]> {
  const { backend = 'auto', module, dtype, threads, memoryLimitBytes, warn, signal } = options
  const files = endedBy(signal, typeof model === 'object' ? model : await openFiles(locateModel(model, task)))
  try {
    const tell = options.progress_callback
    const engine = await createEngine({
      backend,
      ...(module !== undefined && { module }),
      ...(threads !== undefined && { threads }),
      ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
      ...(signal && { signal }),
    })
    const progress =
      tell &&
      (({ loadedBytes: loaded, totalBytes: total, file }: LoadProgress): void => {
        tell({ status: 'progress', name: files.location, file, progress: (100 * loaded) / total, loaded, total })
      })
    const loaded = await loadModel(files, {
      engine,
      ...(dtype && { dtype }),
      ...(warn && { warn }),
      ...(signal && { signal }),
      ...(progress && { progress }),
    }).catch(error => {
      engine.dispose()
      throw error
    })
    let runner: Runner | undefined
    try {
      runner = options.devices ? await options.devices.runner(loaded, { signal }) : aloneRunner(loaded)
      const capabilities = (): PipelineCapabilities => {
        const engine = loaded.engine.capabilities()
        return { ...engine, reasons: [...engine.reasons, ...reasons], dtype: loaded.precision, worker: false }
      }
      const tool = await build(task, runner, files)
      return Object.assign(tool, { capabilities, task, ...disposal(tool.dispose) }) as unknown as Pipelines[T]
    } catch (error) {
      // Devices that have joined leave; how they do is not what failed.
      await runner?.dispose().catch(() => {})
      loaded.dispose()
      throw error
    }
  } finally {
    await files.close?.()
  }
}

async function build(task: Task, runner: Runner, files: ModelFiles): Promise<{ dispose(): Promise<void> }> {
  const { model } = runner
  switch (task) {
    case 'image-classification': {
      const sequence = await imageReader(model, files)
      return Object.assign(imageClassification(runner, sequence), { sequence })
    }
    case 'feature-extraction': {
      const read =
        model.family === 'vit' ? await imageReader(model, files) : textReader(await tokenizerOf(model, files))
      const sequence = read as ReturnType<typeof textReader>
      return Object.assign(featureExtraction(runner, sequence), { sequence })
    }
    case 'text-classification': {
      const tokenizer = await tokenizerOf(model, files)
      return Object.assign(textClassification(runner, tokenizer), { sequence: textReader(tokenizer) })
    }
    case 'fill-mask': {
      const tokenizer = await tokenizerOf(model, files)
      return Object.assign(fillMask(runner, tokenizer), { sequence: textReader(tokenizer) })
    }
    case 'text-generation': {
      const tokenizer = await tokenizerOf(model, files)
      const tool = textGeneration(runner, tokenizer, await endIdsOf(files))
      return Object.assign(tool, { sequence: textReader(tokenizer) })
    }
  }
}

const textReader =
  (tokenizer: Tokenizer) =>
  async (input: TextInput, cut: Pick<EncodeOptions, 'maxTokens'> = {}): Promise<Part> =>
    encodeText(tokenizer, input, cut)

type ReadPicture = (source: ImageInput, options?: { readonly signal?: AbortSignal }) => Promise<Part>

async function imageReader(model: Model, files: ModelFiles): Promise<ReadPicture> {
  if (model.family !== 'vit')
    throw new ModelError(`${model.location} is a ${model.family} model: it does not take images`)
  const shape = model.shape as VitShape
  const json = (await readJson(files, 'preprocessor_config.json')) ?? { size: shape.imageSize }
  const preprocessor = parsePreprocessor(json, `${files.location}/preprocessor_config.json`)
  const { height, width } = givenSides(preprocessor) ?? { height: shape.imageSize, width: shape.imageSize }
  if (height !== shape.imageSize || width !== shape.imageSize)
    throw new ModelError(
      `${preprocessor.where} makes images of ${height}×${width} pixels; config.json says ${shape.imageSize}×${shape.imageSize}`,
    )
  return async (source, { signal } = {}) =>
    patchify(preprocess(await readImage(source, signal), preprocessor, shape.channels), shape)
}

async function tokenizerOf(model: Model, files: ModelFiles): Promise<Tokenizer> {
  if (model.family === 'vit') throw new ModelError(`${model.location} is a vit model: it does not take texts`)
  const tokenizer = await loadTokenizer(files)
  if (!tokenizer) throw new ModelError(`${files.location} has no tokenizer.json, which a text needs`)
  return tokenizer
}

/** `eos_token_id` of generation_config.json, else of config.json. */
async function endIdsOf(files: ModelFiles): Promise<readonly number[]> {
  const id =
    (await readJson(files, 'generation_config.json'))?.eos_token_id ??
    (await readJson(files, 'config.json'))?.eos_token_id
  return (Array.isArray(id) ? id : [id]).filter(i => Number.isInteger(i))
}
