/** How many threads an engine gets for what was asked, and why not more. */
import type { Build } from '../backends/backend.js'
import { OperandError, UnavailableError } from '../errors.js'
import { availableCores, lackOfThreads } from './available.js'

export interface ThreadChoice {
  readonly threads: number
  /** Why not more; undefined where it is as many as there are cores. */
  readonly reason?: string
}

/**
 * Throws {@link OperandError} for a count that is none or above the cores, {@link UnavailableError} where more than one
 * is asked for by number and cannot be had.
 */
export function chooseThreads(
  asked: number | 'auto' | undefined,
  build: Build,
  cores = availableCores(),
): ThreadChoice {
  const have = cores === undefined ? 'this runtime does not tell its cores' : `this machine has ${counted(cores)}`
  if (asked !== undefined && asked !== 'auto') {
    if (!(Number.isInteger(asked) && asked >= 1))
      throw new OperandError(
        `createEngine: threads is ${JSON.stringify(asked)}, not 'auto' or a whole number from 1 on`,
      )
    if (asked > (cores ?? Number.POSITIVE_INFINITY))
      throw new OperandError(`createEngine: threads is ${asked}; ${have}`)
  }
  if (asked === undefined) return { threads: 1, reason: `threads: one, the default; ${have}` }
  if (asked === 1) return { threads: 1, reason: 'threads: one was asked for' }
  const lack = build === 'reference' ? 'the reference backend computes on one thread' : lackOfThreads()
  if (asked === 'auto') {
    if (lack !== undefined) return { threads: 1, reason: `threads: one, as ${lack}` }
    if (cores === undefined || cores === 1) return { threads: 1, reason: `threads: one, as ${have}` }
    return { threads: cores }
  }
  if (lack !== undefined) throw new UnavailableError(`threads: ${asked} were asked for, but ${lack}`)
  return asked === cores ? { threads: asked } : { threads: asked, reason: `threads: ${asked} were asked for; ${have}` }
}

const counted = (cores: number): string => (cores === 1 ? 'one core' : `${cores} cores`)
