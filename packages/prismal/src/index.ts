/** prismal: transformer inference for any JavaScript runtime, shared between devices by segment means. */
export type * from '@prismal/models'
export { InputError, ModelError, memoryFiles } from '@prismal/models'
export { PrismalError } from '@prismal/tensor'
export { type BudgetOptions, budgeted } from './calibrate/budget.js'
export { type CalibrateOptions, type Calibration, calibrate, calibrateEach, type Goal } from './calibrate/calibrate.js'
export type { Calibrated } from './calibrate/items.js'
export { type Drawable, decodeImage, type ImageInput, readImage } from './images.js'
export { TASKS, type Task } from './locate.js'
export {
  type PipelineCapabilities,
  type PipelineOptions,
  type Pipelines,
  type ProgressInfo,
  pipeline,
} from './pipeline.js'
export { type CaseResult, type SharedWay, type VerifyOptions, verifyFolder, WAYS } from './verify/verify.js'
export { WorkerError } from './worker/errors.js'
