/** The options that say how the engine stores and computes, as commands take them. */
import { type Build, PRECISIONS, type Precision } from '@prismal/tensor'
import { type Command, InvalidArgumentError, Option } from 'commander'

export interface EngineFlags {
  readonly dtype?: Precision
  readonly threads?: number | 'auto'
}
export interface BackendFlag {
  readonly backend: Build | 'auto'
}

/** Adds `--dtype`. */
export function withDtype(command: Command): Command {
  return command.addOption(
    new Option(
      '--dtype <name>',
      'how weight matrices are stored in memory (default: f32, or q8 where the files are)',
    ).choices(PRECISIONS),
  )
}

/** Adds `--threads`. */
export function withThreads(command: Command): Command {
  return command.option('--threads <N>', 'threads of this device, or auto: one a core (default: 1)', threads)
}

/** Adds `--backend`. */
export function withBackend(command: Command): Command {
  return command.addOption(
    new Option('--backend <build>', 'what computes')
      .choices(['auto', 'relaxed-simd', 'simd', 'reference'])
      .default('auto'),
  )
}

/** What `pipeline()` is told of `--dtype` and `--threads`. */
export const engineOptions = ({ dtype, threads }: EngineFlags) => ({
  ...(dtype && { dtype }),
  ...(threads !== undefined && { threads }),
})

function threads(text: string): number | 'auto' {
  const value = Number(text)
  if (text !== 'auto' && (text.trim() === '' || !Number.isSafeInteger(value) || value < 1))
    throw new InvalidArgumentError('It is auto or a whole number ≥ 1.')
  return text === 'auto' ? text : value
}
