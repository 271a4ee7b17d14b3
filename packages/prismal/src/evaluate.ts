/** prismal/evaluate: what sharing costs, on data: tasks, grids of cells, and their files. */

export type { Cut, Way } from './evaluate/asking.js'
export * from './evaluate/bootstrap.js'
export type * from './evaluate/cell.js'
export * from './evaluate/compare.js'
export { DataError } from './evaluate/data/errors.js'
export { type Environment, environment } from './evaluate/environment.js'
export { EvaluationError } from './evaluate/errors.js'
export { type EvaluateOptions, type Evaluation, type EvaluationProgress, evaluate } from './evaluate/evaluate.js'
export {
  type Axes,
  type GridCell,
  type GridOptions,
  gridCell,
  gridCells,
  oneDevice,
  parseGrid,
} from './evaluate/grid.js'
export * from './evaluate/metrics.js'
export type { StoredCell } from './evaluate/store.js'
export { type Answers, Subject, type SubjectFacts, type SubjectOptions } from './evaluate/subject.js'
export { type Summary, summaries } from './evaluate/summary.js'
export { csvOf, textTable } from './evaluate/tables.js'
export { EVALUATION_TASKS, type EvaluationTask, metricsOf } from './evaluate/tasks/index.js'
export type { TaskSettings } from './evaluate/tasks/task.js'
