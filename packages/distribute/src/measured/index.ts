/** Measuring devices and links, predicting, laying out rows, choosing a strategy. */
export { type Candidate, type Choice, type ChooseOptions, choose, compare } from './choose.js'
export { type Layout, layout, type SharedWork } from './layout.js'
export { type MeasureOptions, measure } from './measure.js'
export { type MeasuredOptions, measured } from './measured-cluster.js'
export type { ControlSpeed, DeviceSpeed, LinkSpeed, Measurements } from './measurements.js'
export { type DeviceTimeline, type Prediction, type PredictOptions, predict } from './predict.js'
export { duration } from './reasons.js'
export { type Verified, type VerifyOptions, verify } from './verify.js'
