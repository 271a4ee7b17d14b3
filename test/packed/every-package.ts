/** Every package, packed and installed into one project, for the tests of a file. */
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { install, PACKAGES, type PackageName, type Packed, pack } from './pack.js'

export const NAMES = Object.keys(PACKAGES) as PackageName[]

export interface EveryPackage {
  readonly packed: Packed
  /** The project's folder. */
  readonly project: string
  /** Where a package is installed in it. */
  folderOf(name: string): string
}

/** Packs and installs before the tests of the file that calls it, and takes all away after them. */
export function everyPackage(): EveryPackage {
  let packed: Packed
  let project: string
  beforeAll(() => {
    packed = pack()
    project = install(packed, NAMES)
  })
  afterAll(() => packed?.remove())
  return {
    get packed() {
      return packed
    },
    get project() {
      return project
    },
    folderOf: name => join(project, 'node_modules', name),
  }
}
