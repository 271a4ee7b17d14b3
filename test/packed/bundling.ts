/** Builds an application with each bundler as people run it: its defaults, from what npm installed. */
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nodeResolve } from '@rollup/plugin-node-resolve'
import { build as esbuild } from 'esbuild'
import { rollup } from 'rollup'
import { build as vite } from 'vite'
import { build as vite5 } from 'vite-5'
import webpack from 'webpack'

/** A project with its application. */
export interface Bundling {
  readonly project: string
  /** The application's script. */
  readonly app: string
  /** Where the bundle goes. */
  readonly out: string
  /** What it runs in, where a bundler asks; default: a page. */
  readonly target?: 'node'
}
/** Resolves to the warnings. */
export type Bundler = (bundling: Bundling) => Promise<readonly string[]>

export const BUNDLERS: Readonly<Record<string, Bundler>> = {
  async Vite({ project, out, app }) {
    const warnings: string[] = []
    page(project, app)
    const rolldownOptions = {
      onwarn: ({ code, message }: Warning): void => void warnings.push(`${code}: ${message}`),
    }
    await vite({ ...vites(project), build: { outDir: out, rolldownOptions } })
    return warnings.filter(warning => !warning.startsWith('PLUGIN_TIMINGS'))
  },

  /** The oldest that people still build with: its workers are made of one file each. */
  async 'Vite 5'({ project, out, app }) {
    const warnings: string[] = []
    page(project, app)
    const rollupOptions = { onwarn: ({ code, message }: Warning): void => void warnings.push(`${code}: ${message}`) }
    await vite5({ ...vites(project), build: { outDir: out, rollupOptions } })
    return warnings
  },

  async webpack({ project, out, app, target = 'web' }) {
    page(out, 'app.js')
    const stats = await new Promise<webpack.Stats>((resolve, reject) => {
      webpack(
        { mode: 'production', target, context: project, entry: { app: `./${app}` }, output: { path: out } },
        (error, done) => (error || !done ? reject(error) : resolve(done)),
      )
    })
    const { errors = [], warnings = [] } = stats.toJson({ all: false, errors: true, warnings: true })
    if (errors.length > 0) throw new Error(errors.map(e => e.message).join('\n'))
    return warnings.map(w => w.message).filter(message => !/size limit/.test(message))
  },

  async esbuild({ project, out, app }) {
    page(out, 'app.js')
    const { warnings } = await esbuild({
      absWorkingDir: project,
      entryPoints: { app },
      bundle: true,
      format: 'esm',
      outdir: out,
      logLevel: 'silent',
    })
    copyBeside(project, out)
    return warnings.map(w => w.text)
  },

  async Rollup({ project, out, app }) {
    page(out, 'app.js')
    const warnings: string[] = []
    const bundle = await rollup({
      input: { app: join(project, app) },
      plugins: [nodeResolve()],
      onwarn: warning => void warnings.push(`${warning.code}: ${warning.message}`),
    })
    await bundle.write({ dir: out, format: 'es' })
    await bundle.close()
    copyBeside(project, out)
    return warnings
  },
}

function page(folder: string, script: string): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'index.html'), `<!doctype html><script type="module" src="./${script}"></script>\n`)
}

/** What bundlers leave that take `new URL('./file', import.meta.url)` for any other expression: README tells to copy it. */
function copyBeside(project: string, out: string): void {
  const from = join(project, 'node_modules/@prismal/browser/dist')
  for (const name of readdirSync(from))
    if (/^prismal-|(-worker|thread)\.js$/.test(name)) cpSync(join(from, name), join(out, name))
}

interface Warning {
  readonly code?: string | undefined
  readonly message: string
}

/** What every version of Vite is told. The base is where the page will be. */
const vites = (root: string) => ({ root, configFile: false, logLevel: 'silent', base: './' }) as const
