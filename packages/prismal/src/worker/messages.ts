/** What a pipeline's two sides tell each other. */
import type { Model, ModelUrls } from '@prismal/models'
import type { PipelineCapabilities, PipelineOptions, ProgressInfo } from '../pipeline.js'
import type { CarriedError } from './errors.js'

/** What is asked of the worker; each question is answered once, under its number. */
export type Question =
  | {
      readonly ask: 'load'
      readonly task: string
      readonly model: string | ModelUrls | undefined
      readonly options: LoadedWith
    }
  /** One call with its report. */
  | { readonly ask: 'call'; readonly input: unknown; readonly options: object | undefined }
  /** Begins a stream that is known by the number of this question; {@link Step}s are asked for one by one. */
  | { readonly ask: 'stream'; readonly prompt: unknown; readonly options: object | undefined }
  | { readonly ask: 'next'; readonly stream: number }
  /** Ends a stream early. */
  | { readonly ask: 'end'; readonly stream: number }

export type ToWorker =
  | (Question & { readonly id: number })
  /** Aborts the call or stream that this number began. */
  | { readonly ask: 'abort'; readonly id: number }

export type FromWorker =
  | { readonly told: 'answer'; readonly id: number; readonly value: unknown; readonly now?: PipelineCapabilities }
  | { readonly told: 'failure'; readonly id: number; readonly error: CarriedError; readonly isAbort: boolean }
  | { readonly told: 'progress'; readonly info: ProgressInfo }
  | { readonly told: 'warning'; readonly message: string }

/** Options of loading that are plain values. */
export type LoadedWith = Pick<PipelineOptions, 'backend' | 'module' | 'dtype' | 'threads' | 'memoryLimitBytes'>

/** The answer to `load`: what is known of the model without its weights. */
export type ModelFacts = Pick<
  Model,
  'family' | 'location' | 'precision' | 'shape' | 'labels' | 'digest' | 'headProducts'
>

/** The answer to `next`. */
export type Step = { readonly piece: string } | { readonly reported: unknown }
