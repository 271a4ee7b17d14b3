/**
 * The declarations of the package in the working folder: one file beside each module that its exports' types lead to, in
 * `dist`. Each has a map to its TypeScript, so that an editor goes there: it comes along in `dist/src`, or with `--apart`
 * in the package `@prismal/sources`. Types of the kernels' catalogue, which is no package of its own, come along in
 * `dist/kernels`.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { namesMapped } from './declaration-maps.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const catalogue = `${root}kernels-as/`
const isApart = process.argv.includes('--apart')
const { name, exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string
  exports: Record<string, string | { types?: string }>
}
const source = (declarations: string): string => resolve(declarations.replace('dist/', 'src/').replace('.d.ts', '.ts'))
const entries = Object.values(exports).flatMap(e => (typeof e === 'object' && e.types ? [e.types] : []))

const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile)
const options: ts.CompilerOptions = {
  ...ts.convertCompilerOptionsFromJson(config.compilerOptions, root).options,
  typeRoots: [`${root}node_modules/@types`],
  noEmit: false,
  declaration: true,
  emitDeclarationOnly: true,
  declarationMap: true,
  // As a package its declarations would be another's.
  paths: { '@prismal/kernels/*': [`${catalogue}*.ts`] },
  rootDir: root,
  outDir: root,
}
const ambient = ts.sys.readDirectory('src', ['.d.ts'])
const program = ts.createProgram([...entries.map(source), ...ambient], options)
const here = (path: string): string =>
  path.startsWith(catalogue)
    ? resolve('dist/kernels', relative(catalogue, path))
    : resolve('dist', relative('src', path))

/** What was made of each module, by the path of its declarations. */
const made = new Map<string, { text: string; map?: string; module?: string }>()
/** Where the modules' TypeScript is put, and where it then lies beside the package's other files, as npm installs both. */
const folder = isApart ? resolve('../sources/dist', basename(resolve('.'))) : resolve('dist/src')
const seenFrom = (target: string, module: string): string => {
  const installed = isApart ? resolve('node_modules/@prismal/sources/dist', basename(folder)) : folder
  const from = isApart ? resolve('node_modules', name, relative('.', dirname(target))) : dirname(target)
  return relative(from, resolve(installed, relative('src', module)))
}
const { diagnostics } = program.emit(undefined, (path, text, _mark, _fail, sources) => {
  const module = sources?.[0]?.fileName
  if (!module) return
  const target = here(module).replace(/\.ts$/, '.d.ts')
  const found = made.get(target) ?? { text: '' }
  if (path.endsWith('.map')) made.set(target, { ...found, map: text, module })
  else made.set(target, { ...found, text: withOwnKernels(text, dirname(target)) })
})
const problems = [...program.getOptionsDiagnostics(), ...program.getDeclarationDiagnostics(), ...diagnostics]
if (problems.length > 0) {
  const host = { getCurrentDirectory: () => root, getCanonicalFileName: (n: string) => n, getNewLine: () => '\n' }
  throw new Error(ts.formatDiagnostics(problems, host))
}

/** Names the catalogue's types where they are shipped. */
function withOwnKernels(text: string, folder: string): string {
  const beside = relative(folder, resolve('dist/kernels')) || '.'
  return text.replace(/(['"])@prismal\/kernels\/(\w+)\1/g, `'${beside.startsWith('.') ? beside : `./${beside}`}/$2.js'`)
}

/** What declarations name that whoever compiles for an older standard lacks. */
const LIBRARIES = [
  [/\bErrorOptions\b/, 'es2022.error'],
  [/\bSymbol\.(async)?dispose\b/i, 'esnext.disposable'],
] as const

const written = new Set<string>()
/** Writes a module's declarations and those that it names. */
function write(target: string): void {
  const found = made.get(target)
  if (!found) throw new Error(`${relative(root, target)} is wanted, and no declarations were made for it`)
  if (written.has(target)) return
  written.add(target)
  mkdirSync(dirname(target), { recursive: true })
  const mapped = found.map && !target.includes('/dist/kernels/')
  const libs = LIBRARIES.filter(([pattern]) => pattern.test(found.text))
  const references = libs.map(([, lib]) => `/// <reference lib="${lib}" />\n`)
  const text = references.join('') + found.text
  writeFileSync(target, mapped ? text : text.replace(/\/\/# sourceMappingURL=.*\n?/, ''))
  if (mapped) {
    const module = found.module as string
    writeFileSync(`${target}.map`, namesMapped(found.map as string, text, references.length, seenFrom(target, module)))
    const source = resolve(folder, relative('src', module))
    mkdirSync(dirname(source), { recursive: true })
    copyFileSync(module, source)
  }
  for (const [, , path] of found.text.matchAll(/(from|import\()\s*['"](\.[^'"]+)\.js['"]/g))
    write(resolve(dirname(target), `${path}.d.ts`))
}
rmSync(folder, { recursive: true, force: true })
for (const entry of entries) write(resolve(entry))
