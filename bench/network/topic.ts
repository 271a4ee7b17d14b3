/** What the network's benchmarks have in common: what each is told, and what it gives. */
import { PUBLISHED, type SharingOptions } from '@prismal/distribute'
import type { WeightDtype } from '../peer-cases.js'
import { randomModel } from '../random-models.js'
import type { NotMeasured, Remark, Row } from '../report.js'
import type { Subject } from './coordinator-messages.js'
import type { NetworkRounds } from './pair.js'

export const SUITE = 'network'

export interface TopicOptions extends NetworkRounds {
  /** Fewer repetitions wherever something is repeated. */
  readonly quick: boolean
  /** Only what bars are set for, and of several that show the same the first. */
  readonly onlyBars: boolean
  /** Told as each part begins. */
  readonly tell: (line: string) => void
}

export interface TopicFindings {
  readonly rows: readonly Row[]
  readonly notMeasured: readonly NotMeasured[]
  readonly remarks: readonly Remark[]
}

/** A model and an input of the usual sizes, with random weights. */
export interface Workload {
  readonly name: string
  readonly folder: () => string
  readonly subject: Subject
  /** How devices share it, where nothing else is said: as published, with a sink row. */
  readonly means: SharingOptions & { readonly segments: number }
}

export const VIT: Workload = {
  name: 'vit-b16',
  folder: () => randomModel('vit-b16'),
  subject: { kind: 'image' },
  means: { ...PUBLISHED, segments: 10, sink: 1 },
}
export const GPT2: Workload = {
  name: 'gpt2-prefill-1024',
  folder: () => randomModel('gpt2'),
  subject: { kind: 'prompt', tokens: 1024 },
  means: { ...PUBLISHED, segments: 16, sink: 1 },
}
export const FULL: SharingOptions = { strategy: 'full' }
export const WHOLE: SharingOptions = { strategy: 'whole' }

export const meansName = ({ means }: Workload): string => `means L=${means.segments}`
export const oneDevice = (dtype: WeightDtype = 'f32'): string => `one device, ${dtype}`
export const NOTHING: TopicFindings = { rows: [], notMeasured: [], remarks: [] }

/** Findings of several parts as one. */
export const together = (parts: readonly TopicFindings[]): TopicFindings => ({
  rows: parts.flatMap(p => p.rows),
  notMeasured: parts.flatMap(p => p.notMeasured),
  remarks: parts.flatMap(p => p.remarks),
})
