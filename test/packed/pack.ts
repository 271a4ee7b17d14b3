/**
 * The packages as users get them: packed by npm from what is built, and installed from those tarballs into a folder that
 * has nothing else. Nothing in these suites imports the source tree.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))

/** Folders of the packages that are published, by their names. */
export const PACKAGES = {
  '@prismal/tensor': 'packages/tensor',
  '@prismal/models': 'packages/models',
  '@prismal/distribute': 'packages/distribute',
  prismal: 'packages/prismal',
  '@prismal/browser': 'packages/browser',
  '@prismal/sources': 'packages/sources',
  '@prismal/vit-cifar10': 'models/vit-cifar10',
  '@prismal/gpt2-chronicle': 'models/gpt2-chronicle',
} as const

export type PackageName = keyof typeof PACKAGES

export interface Packed {
  /** Where the tarballs lie. */
  readonly folder: string
  /** Paths of the tarballs. */
  readonly tarballs: Readonly<Record<PackageName, string>>
  /** Takes the folder away. */
  remove(): void
}

/** Packs what is built (`npm run build`). */
export function pack(names = Object.keys(PACKAGES) as readonly PackageName[]): Packed {
  const folder = mkdtempSync(join(tmpdir(), 'prismal-packed-'))
  const folders = names.map(name => join(REPOSITORY, PACKAGES[name]))
  const told = npm(['pack', '--json', '--pack-destination', folder, ...folders], folder)
  const packed = Object.values(JSON.parse(told) as Record<string, { name: PackageName; filename: string }>)
  const tarballs = Object.fromEntries(packed.map(({ name, filename }) => [name, join(folder, filename)]))
  return {
    folder,
    tarballs: tarballs as Record<PackageName, string>,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** An empty project in a new folder with packages installed from their tarballs, and `others` (`name@version`) from the registry. */
export function install(
  { folder, tarballs }: Packed,
  names: readonly PackageName[],
  others: readonly string[] = [],
): string {
  const project = mkdtempSync(join(folder, 'project-'))
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n')
  mkdirSync(join(project, 'node_modules'))
  npm(['install', '--no-audit', '--no-fund', '--ignore-scripts', ...names.map(n => tarballs[n]), ...others], project)
  return project
}

/** What a package depends on of this repository, and itself. */
export function withDependencies(name: PackageName): PackageName[] {
  const { dependencies = {} } = JSON.parse(readFileSync(join(REPOSITORY, PACKAGES[name], 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>
  }
  const own = Object.keys(dependencies).filter((d): d is PackageName => d in PACKAGES)
  return [...new Set([...own.flatMap(withDependencies), name])]
}

/** Runs npm in a folder; its output. Throws with what npm said. */
export function npm(args: readonly string[], cwd: string): string {
  const path = process.env.npm_execpath
  const [command, before] = path ? [process.execPath, [path]] : ['npm', []]
  return execFileSync(command, [...before, ...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** A command's output. Throws with what it said where it fails. */
export function run(command: string, args: readonly string[], cwd = REPOSITORY): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe' })
}
