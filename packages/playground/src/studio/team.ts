/** The devices that share a model: the studio's own worker, and others beside it: as many as may be chosen, from when the first are asked for. */
import deviceScript from '@prismal/distribute/worker-thread?worker&url'
import { cluster, type SharedRunner, type SharingOptions, thread } from 'prismal/distribute'
import type { Model } from 'prismal/models'
import { MOST_DEVICES, type RunsOn, type Sharing } from './messages.js'
import { PageWorker } from './page-workers.js'

export const optionsOf = ({ strategy, compressionRate }: Sharing): SharingOptions =>
  strategy === 'means' ? { strategy, compressionRate } : { strategy }

export class Team {
  readonly #model: Model
  #runner: SharedRunner | undefined

  constructor(model: Model) {
    this.#model = model
  }

  get runsOn(): RunsOn {
    const { build, threads, reasons } = this.#model.engine.capabilities()
    return { build, threads, reasons }
  }

  /** A runner over as many devices. `tell` is told before workers are started. Throws `DeviceError` where one does not come. */
  async runner(sharing: Sharing, tell: (step: string) => void): Promise<SharedRunner> {
    if (!this.#runner) {
      tell('Starting the other devices, each with the model')
      const others = Array.from({ length: MOST_DEVICES - 1 }, (_, i) =>
        thread({ name: `device ${i + 2}`, script: () => new PageWorker(deviceScript) }),
      )
      this.#runner = await cluster(['local', ...others]).runner(this.#model)
    }
    return this.#runner.with(optionsOf(sharing), sharing.devices)
  }

  /** Whoever asks next starts others: after one has died. */
  forget(): void {
    this.#runner = undefined
  }
}
