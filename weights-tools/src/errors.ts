/** What can go wrong between a checkpoint file and a model folder. */
import { PrismalError } from '@prismal/tensor'

/** The file is damaged, cut short, or not what its name says. Code `invalid-checkpoint`. */
export class CheckpointError extends PrismalError {
  override readonly name: string = 'CheckpointError'
  constructor(message: string, options?: ErrorOptions) {
    super('invalid-checkpoint', message, options)
  }
}

/** A pickle names something other than tensors and containers; nothing of it was run. Code `refused-global`. */
export class RefusedGlobalError extends PrismalError {
  override readonly name: string = 'RefusedGlobalError'
  /** What the pickle asked for, as `module.name`. */
  readonly global: string
  constructor(global: string) {
    super(
      'refused-global',
      `the checkpoint names ${global}, which is not part of a state dict and is never run; ` +
        'save only the weights: torch.save(model.state_dict(), path)',
    )
    this.global = global
  }
}

/** The weights are readable but are not the model that was asked for. Code `unsupported-model`. */
export class ConversionError extends PrismalError {
  override readonly name: string = 'ConversionError'
  constructor(message: string, options?: ErrorOptions) {
    super('unsupported-model', message, options)
  }
}
