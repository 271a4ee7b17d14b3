/** The invariants that ARCHITECTURE.md names, held by reading the sources. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { basename, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const MOST_LINES = 500

/** Files below a folder, as paths from the repository's root. */
function filesBelow(folder: string, wanted: (path: string) => boolean): string[] {
  const skipped = new Set(['node_modules', 'dist', 'build', '.cache'])
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : filesBelow(path, wanted)
    return wanted(path) ? [path] : []
  })
}
const isTypeScript = (path: string): boolean => /\.(ts|tsx|mts)$/.test(path)
const isTest = (path: string): boolean => /\.test\.ts$|(^|\/)(test-subjects|kernel-cases)\.ts$/.test(path)
const text = (path: string): string => readFileSync(join(root, path), 'utf8')
const withoutComments = (source: string): string =>
  source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1')

/** What a source imports, statically, dynamically or by re-export. */
function importsOf(path: string): string[] {
  const source = withoutComments(text(path))
  const specifiers = [
    ...source.matchAll(/\b(?:import|export)\b[^;'"`]*?\bfrom\s*['"]([^'"]+)['"]/g),
    ...source.matchAll(/\bimport\s*['"]([^'"]+)['"]/g),
    ...source.matchAll(/(?<!typeof )\b(?:import|require|getBuiltinModule)\??\.?\(\s*['"]([^'"]+)['"]/g),
  ]
  return specifiers.map(([, specifier]) => specifier as string)
}

/** The workspaces, and which of the others each may import. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'kernels-as': [],
  'packages/tensor': ['@prismal/kernels'],
  'packages/models': ['@prismal/tensor'],
  'packages/distribute': ['@prismal/tensor', '@prismal/models'],
  'packages/prismal': ['@prismal/tensor', '@prismal/models', '@prismal/distribute'],
  'packages/browser': [],
  'packages/sources': [],
  'packages/playground': ['@prismal/tensor', '@prismal/models', '@prismal/distribute', 'prismal'],
  'weights-tools': ['@prismal/tensor', '@prismal/models'],
}
const workspaces = Object.keys(MAY_IMPORT).filter(folder => existsSync(join(root, folder)))
const packages = readdirSync(join(root, 'packages')).map(name => `packages/${name}`)
const sourcesOf = (workspace: string): string[] =>
  filesBelow(workspace, path => isTypeScript(path) && !path.startsWith('kernels-as/assembly'))
const shipped = (workspace: string): string[] =>
  filesBelow(existsSync(join(root, workspace, 'src')) ? join(workspace, 'src') : workspace, isTypeScript).filter(
    path => !isTest(path) && !path.includes('/testing/') && !path.startsWith('kernels-as/assembly'),
  )
const isWorkspace = (specifier: string): boolean => /^(@prismal\/|prismal($|\/))/.test(specifier)
const packageName = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

describe('imports', () => {
  it('are found in every form', () => {
    expect(importsOf('packages/tensor/src/engine.ts')).toContain('./arena.js')
    expect(importsOf('packages/tensor/src/api.ts')).toContain('@prismal/kernels/catalogue')
    expect(importsOf('packages/tensor/src/wasm-source.ts')).toContain('node:fs')
    expect(workspaces.length).toBeGreaterThanOrEqual(6)
    expect(packages.filter(folder => !workspaces.includes(folder))).toEqual([])
  })

  it.each(workspaces)('of %s go one way: prismal → distribute → models → tensor → kernels', workspace => {
    const allowed = MAY_IMPORT[workspace] as readonly string[]
    const wrong = shipped(workspace).flatMap(path =>
      importsOf(path)
        .filter(specifier => isWorkspace(specifier) && !allowed.includes(packageName(specifier)))
        .map(specifier => `${path} imports ${specifier}`),
    )
    expect(wrong).toEqual([])
  })

  it.each(workspaces)('of %s never reach into another package by path', workspace => {
    const wrong = shipped(workspace).flatMap(path =>
      importsOf(path)
        .filter(specifier => specifier.startsWith('.'))
        .filter(specifier => relative(workspace, join(path, '..', specifier)).startsWith('..'))
        .map(specifier => `${path} imports ${specifier}`),
    )
    expect(wrong).toEqual([])
  })

  it.each(workspaces)('of %s are all declared', workspace => {
    const { dependencies, peerDependencies, devDependencies } = JSON.parse(text(join(workspace, 'package.json')))
    // The catalogue is bundled into tensor; what others bundle stands among their devDependencies.
    const declared = new Set([
      ...Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies }),
      '@prismal/kernels',
    ])
    const isBuild = (path: string): boolean => workspace === 'kernels-as' && path.endsWith('build.ts')
    const wrong = shipped(workspace)
      .filter(path => !isBuild(path))
      .flatMap(path =>
        importsOf(path)
          .filter(
            specifier => !/^[.#]/.test(specifier) && !isBuiltin(specifier) && !declared.has(packageName(specifier)),
          )
          .map(specifier => `${path} imports ${specifier}`),
      )
    expect(wrong).toEqual([])
  })
})

describe('runtime dependencies', () => {
  const outside = (workspace: string): string[] =>
    Object.keys(JSON.parse(text(join(workspace, 'package.json'))).dependencies ?? {}).filter(name => !isWorkspace(name))

  it('of tensor and distribute there are none', () => {
    expect(outside('packages/tensor')).toEqual([])
    expect(outside('packages/distribute')).toEqual([])
  })
  it('of models there are none either, since it bundles only @huggingface/tokenizers', () => {
    expect(outside('packages/models')).toEqual([])
    const { devDependencies } = JSON.parse(text('packages/models/package.json'))
    expect(Object.keys(devDependencies)).toEqual(['@huggingface/tokenizers'])
  })
  it("that are transports' libraries, or for editors, are optional peers", () => {
    const { peerDependencies = {}, peerDependenciesMeta = {} } = JSON.parse(text('packages/distribute/package.json'))
    for (const name of Object.keys(peerDependencies)) expect(peerDependenciesMeta[name]?.optional, name).toBe(true)
  })
})

describe('runtimes', () => {
  /** What a file imports of Node when it is loaded: types are gone then, and `process.getBuiltinModule` asks at run time. */
  const nodeImports = (path: string): string[] => {
    const source = withoutComments(text(path)).replace(
      /\bimport type\b[^;'"]*['"][^'"]+['"]|\btypeof import\([^)]*\)/g,
      '',
    )
    return [...source.matchAll(/\b(?:from|import|require)\s*\(?\s*['"]([^'"]+)['"]/g)]
      .map(([, specifier]) => specifier as string)
      .filter(specifier => isBuiltin(specifier))
  }

  it.each(['packages/tensor', 'packages/models', 'packages/distribute'])('%s loads nothing of Node', workspace => {
    expect(shipped(workspace).flatMap(path => nodeImports(path).map(found => `${path} imports ${found}`))).toEqual([])
  })

  it('what a page loads of prismal loads nothing of Node', () => {
    const seen = new Set<string>()
    const follow = (path: string): void => {
      if (seen.has(path)) return
      seen.add(path)
      for (const specifier of importsOf(path))
        if (specifier.startsWith('.')) follow(join(path, '..', specifier.replace(/\.js$/, '.ts')))
    }
    for (const entry of ['index', 'distribute', 'models', 'tensor', 'pipeline-worker'])
      follow(`packages/prismal/src/${entry}.ts`)
    expect(seen.size).toBeGreaterThan(25)
    expect([...seen].flatMap(path => nodeImports(path).map(found => `${path} imports ${found}`))).toEqual([])
  })
})

describe('models', () => {
  const declaresForward = (path: string): number =>
    [...withoutComments(text(path)).matchAll(/\bfunction\*?\s+forward\b|\b(?:const|let)\s+forward\s*=/g)].length

  it('have one forward each, and nothing else has one', () => {
    const counts = workspaces
      .flatMap(shipped)
      .map(path => [path, declaresForward(path)] as const)
      .filter(([, count]) => count > 0)
    const models = 'packages/models/src'
    expect(Object.fromEntries(counts)).toEqual({
      [`${models}/bert.ts`]: 1,
      [`${models}/gpt2.ts`]: 1,
      [`${models}/vit.ts`]: 1,
    })
  })

  it('know nothing of devices', () => {
    const source = ['bert', 'gpt2', 'vit', 'layers'].map(name =>
      withoutComments(text(`packages/models/src/${name}.ts`)),
    )
    expect(source.join('\n')).not.toMatch(/\b(device|partition|segment|transport|rank)/i)
  })
})

describe('files', () => {
  const all = [...workspaces, 'test', 'bench', 'examples']
    .filter(folder => existsSync(join(root, folder)))
    .flatMap(folder => (folder in MAY_IMPORT ? [...sourcesOf(folder)] : filesBelow(folder, isTypeScript)))
  const assembly = filesBelow('kernels-as/assembly', isTypeScript)

  it('have names that say what is in them', () => {
    const vague = /(^|\/)(utils?|common|helpers?|misc|shared)(\/|\.ts$)/
    expect([...all, ...assembly].filter(path => vague.test(path))).toEqual([])
  })

  it(`have at most ${MOST_LINES} lines`, () => {
    const long = [...all, ...assembly]
      .map(path => [path, text(path).split('\n').length - 1] as const)
      .filter(([, lines]) => lines > MOST_LINES)
    expect(long).toEqual([])
  })

  it('say in their first lines what belongs in them', () => {
    const silent = workspaces
      .flatMap(shipped)
      .filter(path => path.includes('/src/'))
      .filter(path => !/^(#!.*\n)?\/\*\*/.test(text(path)))
    expect(silent).toEqual([])
  })
})

describe('ARCHITECTURE.md', () => {
  it('tells of every package', () => {
    const architecture = text('ARCHITECTURE.md')
    for (const workspace of workspaces) expect(architecture, workspace).toContain(basename(workspace))
  })
})

describe('errors', () => {
  it('say their names, which a bundler would take from their classes', () => {
    const classes = workspaces
      .flatMap(shipped)
      .flatMap(path => [...text(path).matchAll(/class (\w+) extends PrismalError \{\n(.*)\n/g)])
    expect(classes.length).toBeGreaterThan(15)
    for (const [, name, first] of classes) expect(first).toBe(`  override readonly name: string = '${name}'`)
  })
})

it('commands are files that a fresh clone has: npm links no others', () => {
  const commands = Object.keys(MAY_IMPORT).flatMap(workspace => {
    const { bin = {} } = JSON.parse(text(join(workspace, 'package.json'))) as { bin?: Record<string, string> }
    return Object.values(bin).map(file => join(workspace, file))
  })
  expect(commands).toHaveLength(2)
  for (const file of commands) expect([file, text(file).split('\n')[0]]).toEqual([file, '#!/usr/bin/env node'])
  expect(commands.filter(file => file.includes('dist'))).toEqual([])
})
