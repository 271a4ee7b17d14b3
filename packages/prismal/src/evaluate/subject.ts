/** What is evaluated, loaded: a model on an engine of its own, logical devices that share it, a task's items. */
import type { SharedRunner } from '@prismal/distribute'
import {
  folderName,
  loadModel,
  loadTokenizer,
  type Model,
  ModelError,
  type ModelFiles,
  type StackShape,
  type Tokenizer,
} from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import { createEngine, type Precision } from '@prismal/tensor'
import { locateModel, locateNamed } from '../locate.js'
import { type LogicalDevices, logicalDevices } from '../logical-devices.js'
import { Asker, type Tally, type Way } from './asking.js'
import type { Columns, Named } from './cell.js'
import { taskKind } from './tasks/index.js'
import { joinColumns, type Prepared, type TaskSettings } from './tasks/task.js'

/** What is evaluated. */
export interface SubjectOptions {
  readonly task: string
  /** A folder, URL or installed package; default: the task's. */
  readonly model?: string
  /** Where the tokenizer lies, if not with the model. */
  readonly tokenizer?: string
  readonly data: string
  readonly split?: string
  readonly settings?: TaskSettings
  readonly dtype?: Precision
}

/** What a thread that has loaded it tells of it. */
export interface SubjectFacts {
  readonly data: Named
  readonly count: number
  readonly model: Named & { readonly dtype: string }
  readonly shape: StackShape
  readonly settings: Prepared['settings']
  readonly together: number
  /** Names of the metrics, the one that tables show first. */
  readonly metrics: readonly string[]
  readonly numericsClass: string
  readonly build: string
}

export interface Answers {
  readonly columns: Columns
  readonly tally: Tally
}

export class Subject {
  readonly facts: SubjectFacts
  readonly #model: Model
  readonly #prepared: Prepared
  #logical: LogicalDevices | undefined

  private constructor(model: Model, prepared: Prepared) {
    this.#model = model
    this.#prepared = prepared
    const { data, count, settings, together, metrics } = prepared
    const name = folderName(model.location)
    this.facts = {
      data,
      count,
      model: { name, digest: model.digest, dtype: model.precision },
      shape: model.shape,
      settings,
      together,
      metrics: metrics.map(m => m.name),
      numericsClass: model.engine.numericsClass(model.precision),
      build: model.engine.build,
    }
  }

  /** Loads the model and reads the data. Throws `ModelError`, {@link DataError} or `InputError` where they do not fit the task. */
  static async load({ task, model, tokenizer, data, split, settings = {}, dtype }: SubjectOptions): Promise<Subject> {
    const kind = taskKind(task)
    const files = await openFiles(locateModel(model, kind.pipeline))
    const engine = await createEngine({ threads: 1 })
    try {
      const loaded = await loadModel(files, { engine, ...(dtype && { dtype }), warn: () => {} })
      const prepared = await kind.prepare({
        model: loaded,
        files,
        tokenizer: () => tokenizerOf(files, tokenizer),
        data,
        split,
        settings,
      })
      return new Subject(loaded, prepared)
    } catch (error) {
      engine.dispose()
      throw error
    } finally {
      await files.close?.()
    }
  }

  /** Answers to these items, shared in one way. Many at once are asked for `together` at a time. */
  async answers(way: Way, items: readonly number[]): Promise<Answers> {
    const ask = new Asker(await this.#devices(way.devices), way)
    const parts: Columns[] = []
    const { together } = this.#prepared
    for (let at = 0; at < items.length; at += together)
      parts.push(await this.#prepared.run(ask, items.slice(at, at + together)))
    return { columns: joinColumns(parts), tally: ask.tally }
  }

  /** At least so many devices on the one model. */
  async #devices(count: number): Promise<SharedRunner> {
    if (this.#logical && this.#logical.runner.devices >= count) return this.#logical.runner
    await this.#logical?.end()
    this.#logical = await logicalDevices(this.#model, count)
    return this.#logical.runner
  }

  async dispose(): Promise<void> {
    await this.#logical?.end()
    this.#model.dispose()
  }
}

async function tokenizerOf(files: ModelFiles, elsewhere: string | undefined): Promise<Tokenizer> {
  const from = elsewhere === undefined ? files : await openFiles(locateNamed(elsewhere))
  const tokenizer = await loadTokenizer(from)
  if (!tokenizer)
    throw new ModelError(`${from.location} has no tokenizer.json: name a folder that has with --tokenizer`)
  return tokenizer
}
