/** `sharing.json`: what calibration chose, for `prismal run --sharing`. */
import { readFileSync } from 'node:fs'
import { PlanError, type SharingOptions } from '@prismal/distribute'
import type { Task } from '../locate.js'
import type { Calibration } from './calibrate.js'

export interface SharingFile {
  readonly format: 1
  readonly task: Task
  /** SHA-256 of the model that it was chosen for, as `Model.digest`. */
  readonly model: { readonly location: string; readonly digest: string }
  readonly devices: number
  readonly sharing: SharingOptions
  /** How it was found. */
  readonly calibration: Omit<Calibration, 'devices' | 'sharing'>
}

/** Reads one. Throws {@link PlanError} where it is none; options that cannot be are refused where they are planned with. */
export function readSharingFile(path: string): SharingFile {
  let file: Partial<SharingFile> | null
  try {
    file = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new PlanError(`plan: ${path} cannot be read: ${(error as Error).message}`)
  }
  const { format, devices, sharing } = file ?? {}
  if (format !== 1 || typeof devices !== 'number' || typeof sharing !== 'object' || sharing === null)
    throw new PlanError(`plan: ${path} is not what prismal calibrate --out writes`)
  return file as SharingFile
}
