/** What an evaluation ran on. */
import { availableParallelism, cpus, totalmem } from 'node:os'
import { versions } from '../versions.js'

export interface Environment {
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryBytes: number
    readonly platform: string
  }
  readonly versions: Readonly<Record<string, string>>
  /** Which of the kernels' builds computed. */
  readonly build: string
}

export const environment = (build: string): Environment => ({
  machine: {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
  },
  versions: versions(),
  build,
})
