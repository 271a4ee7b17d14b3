/** Several devices within one thread, on one copy of a model: they compute and send what devices of their own would. */
import { cluster, type SharedRunner } from '@prismal/distribute'
import type { Model } from '@prismal/models'

export interface LogicalDevices {
  readonly runner: SharedRunner
  /** Ends the devices and leaves the model, which `runner.dispose` would take along. */
  end(): Promise<void>
}

export async function logicalDevices(model: Model, count: number): Promise<LogicalDevices> {
  const runner = await cluster(new Array<'local'>(count).fill('local')).runner(model)
  return {
    runner,
    async end() {
      for (const member of runner.members) await member.end()
    },
  }
}
