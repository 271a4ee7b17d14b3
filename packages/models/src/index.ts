/** @prismal/models: ViT, BERT and GPT-2 from Hugging Face folders, and pipelines over them. */
export type { ClassScores, Json, StackShape } from './config.js'
export {
  alone,
  type Context,
  keysAndValues,
  type LayerKeys,
  Layout,
  type OwnBlock,
  type Placement,
  type Projection,
  type QueriedBlock,
  turnTaker,
  wholeLayout,
} from './context.js'
export * from './errors.js'
export { blankSequence, type EstimateRequest, estimate, type Head, headOf } from './estimate.js'
export { loadBert, loadGpt2, loadModel, loadVit, readShape, readUses, shapeOf } from './families.js'
export {
  addressOf,
  endedBy,
  folderName,
  type ModelFiles,
  placeForThreads,
  readFile,
  readJson,
  urlFiles,
} from './files.js'
export { checkOptions, type Emitted, type GenerateOptions, generate, type Prefilled } from './generate.js'
export * from './image/image.js'
export * from './image/preprocess.js'
export { imaginedFiles } from './imagined.js'
export { cut, nextPosition, type Part, textPart, type Want, wantedRows } from './input.js'
export { inspectModel, type ModelSummary } from './inspect.js'
export { KvCache } from './kv-cache.js'
export { dataAt, linkedFiles, type ModelUrls } from './linked-files.js'
export type { LoadOptions } from './load.js'
export { type FileContent, memoryFiles } from './memory-files.js'
export type { Model } from './model.js'
export * from './pipelines/classification.js'
export * from './pipelines/features.js'
export * from './pipelines/fill-mask.js'
export * from './pipelines/generation.js'
export {
  type CountOptions,
  encodeText,
  givenOptions,
  type TextInput,
  type TruncationOptions,
} from './pipelines/options.js'
export type { BatchPipeline, CallOptions, Pipeline, Reported } from './pipelines/pipeline.js'
export { expectRoom, firstSteps, type MemoryEstimate, rehearse } from './rehearse.js'
export { type DeviceReport, type Report, type Stage, StageMeter, type TimedStage, totals } from './report.js'
export { aloneRunner, cacheFor, type Request, type Runner, sequenceMeans, withTurns } from './runner.js'
export { indexOfMax, type SamplingOptions } from './sampling.js'
export { type EncodeOptions, loadTokenizer, Tokenizer } from './text/tokenizer.js'
export { patchify, type VitShape } from './vit.js'
export type { Layout as StoredLayout, UsedTensor } from './weights/reader.js'
export { parseSafetensors, type StoredArray } from './weights/safetensors.js'
export type { LoadProgress } from './weights/streaming.js'
