/** The devices that share a model: the studio's own worker, and others beside it that are started when they are first asked for. */
import { cluster, type SharedRunner, type SharingOptions, thread } from 'prismal/distribute'
import type { Model } from 'prismal/models'
import type { Sharing } from './messages.js'

export const optionsOf = ({ strategy, compressionRate }: Sharing): SharingOptions =>
  strategy === 'means' ? { strategy, compressionRate } : { strategy }

export class Team {
  readonly #model: Model
  #runner: SharedRunner | undefined

  constructor(model: Model) {
    this.#model = model
  }

  /** A runner over as many devices. `tell` is told before workers are started. Throws `DeviceError` where one does not come. */
  async runner(sharing: Sharing, tell: (step: string) => void): Promise<SharedRunner> {
    const { devices } = sharing
    if (!this.#runner || this.#runner.members.length < devices) {
      tell(`Starting ${devices - 1 === 1 ? 'a second device' : `${devices - 1} more devices`}, each with the model`)
      await this.end()
      const others = Array.from({ length: devices - 1 }, (_, i) => thread({ name: `device ${i + 2}` }))
      this.#runner = await cluster(['local', ...others]).runner(this.#model)
    }
    return this.#runner.with(optionsOf(sharing), devices)
  }

  /** Ends the devices; whoever asks next starts others. */
  async end(): Promise<void> {
    const members = this.#runner?.members ?? []
    this.#runner = undefined
    for (const member of members) await member.end()
  }
}
