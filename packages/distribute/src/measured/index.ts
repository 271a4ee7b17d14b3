/** Measuring devices and links, predicting, laying out rows, choosing a strategy. */
export { type MeasureOptions, measure } from './measure.js'
export type { ControlSpeed, DeviceSpeed, LinkSpeed, Measurements } from './measurements.js'
export { type DeviceTimeline, type Prediction, type PredictOptions, predict } from './predict.js'
