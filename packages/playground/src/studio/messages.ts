/** What the page and its worker say to each other. The page asks one thing at a time; each answer has the question's number. */

export const MOST_DEVICES = 4

/** How the shared run is to be shared. */
export interface Sharing {
  /** P, 2 to {@link MOST_DEVICES}. */
  readonly devices: number
  /** `means` tells segment means, `full` every row, `isolated` nothing. */
  readonly strategy: 'means' | 'full' | 'isolated'
  /** Rows that a mean stands for, ≥ 1. */
  readonly compressionRate: number
}

export type Question =
  /** Loads the model of a task, so that the first answer comes sooner. */
  | { readonly kind: 'load'; readonly task: Task; readonly model: string }
  | { readonly kind: 'classify'; readonly model: string; readonly image: Blob; readonly sharing: Sharing }
  | { readonly kind: 'continue'; readonly model: string; readonly prompt: string; readonly sharing: Sharing }

export type Task = 'picture' | 'text'
export type Way = 'alone' | 'shared'

export type ToStudio = { readonly id: number; readonly ask: Question } | { readonly stop: number }

export interface Label {
  readonly label: string
  /** Probability, 0…1. */
  readonly score: number
}

/** What one device did for a request, from its report. */
export interface Usage {
  /** Rows of the sequence that it computed. */
  readonly rows: number
  /** Bytes that came from other devices, frames included: counted, and as the plan foretells them. */
  readonly bytesReceived: number
  readonly bytesPlanned: number
  /** What would come if every row were sent. */
  readonly bytesOfFull: number
  readonly flops: number
  readonly milliseconds: number
}

/** A shared request beside the same one on one device; times are those of the middle one of a few rounds. */
export interface Comparison {
  readonly sharing: Sharing
  /** N, rows of the sequence. */
  readonly rows: number
  /** Rows or means that each device tells the others in a layer. */
  readonly told: readonly number[]
  readonly alone: { readonly flops: number; readonly milliseconds: number }
  /** From the question to the answer, with what the coordinator does. */
  readonly milliseconds: number
  readonly devices: readonly Usage[]
  /** Whether the likeliest is the same. */
  readonly isSame: boolean
  /** Largest difference of a probability, 0…1. */
  readonly largestDifference: number
  /** Whatever was not as planned. */
  readonly deviations: readonly string[]
}

/** What the worker computes with. */
export interface RunsOn {
  readonly build: string
  readonly threads: number
  readonly reasons: readonly string[]
}

export type Answer =
  | { readonly kind: 'progress'; readonly loadedBytes: number; readonly totalBytes: number }
  | { readonly kind: 'loaded'; readonly runsOn: RunsOn }
  /** What it does, for people. */
  | { readonly kind: 'step'; readonly step: string }
  | { readonly kind: 'labels'; readonly way: Way; readonly labels: readonly Label[] }
  /** A piece of the continuation. */
  | { readonly kind: 'piece'; readonly way: Way; readonly text: string }
  | { readonly kind: 'compared'; readonly comparison: Comparison }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly message: string }

export interface FromStudio {
  readonly id: number
  readonly answer: Answer
}
