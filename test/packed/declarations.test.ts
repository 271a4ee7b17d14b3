/** The declarations of the tarballs: what compiles with them, and where they lead an editor. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { definitions } from './editor.js'
import { everyPackage, NAMES } from './every-package.js'
import { install, REPOSITORY, run, withDependencies } from './pack.js'

/** Those whose sources an editor can open. */
const MAPPED = withDependencies('prismal')
const every = everyPackage()
const { folderOf } = every

const filesOf = (name: string, ending: string): string[] =>
  (readdirSync(folderOf(name), { recursive: true }) as string[]).filter(path => path.endsWith(ending))

describe('declarations', () => {
  it.each([
    ['', { lib: ['es2022', 'dom', 'dom.iterable'], types: ['node'] }],
    [', of an older standard', { lib: ['es2020', 'dom', 'dom.iterable'], types: ['node'] }],
    [', in pages', { lib: ['es2022', 'dom', 'dom.iterable'], types: [] }],
  ])('compile where everything is checked, without newer libraries than the code needs%s', (_, given) => {
    const compilerOptions = { noEmit: true, strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false }
    const target = { module: 'nodenext', target: 'es2020', ...given }
    const typeRoots = [join(REPOSITORY, 'node_modules/@types')]
    const config = { compilerOptions: { ...compilerOptions, ...target, typeRoots }, files: ['all.ts'] }
    writeFileSync(join(every.project, 'tsconfig.json'), JSON.stringify(config))
    const exportsOf = (name: string): string[] =>
      Object.keys(JSON.parse(readFileSync(join(folderOf(name), 'package.json'), 'utf8')).exports)
    const paths = NAMES.flatMap(name => exportsOf(name).map(path => path.replace('.', name)))
    // Those for NATS need its packages' types, and those for processes Node's.
    const isForProcesses = (path: string): boolean => /\/(node|host|evaluate|calibrate)$/.test(path)
    const modules = paths.filter(
      path => !/nats|\*|\.json$/.test(path) && (given.types.length > 0 || !isForProcesses(path)),
    )
    writeFileSync(
      join(every.project, 'all.ts'),
      modules.map((path, i) => `export * as m${i} from '${path}'`).join('\n'),
    )
    run(process.execPath, [join(REPOSITORY, 'node_modules/typescript/bin/tsc'), '-p', every.project])
  })

  it('name no package that is not published', () => {
    for (const name of NAMES)
      for (const path of filesOf(name, '.d.ts'))
        expect(readFileSync(join(folderOf(name), path), 'utf8'), path).not.toMatch(
          /['"](@prismal\/kernels|@huggingface|@jsquash|commander)/,
        )
  })
})

describe('declaration maps', () => {
  it.each(MAPPED)('of %s stand beside every declaration but those of the catalogue', name => {
    const declarations = filesOf(name, '.d.ts').filter(path => !path.startsWith('dist/kernels/'))
    expect(declarations).toContain('dist/index.d.ts')
    const maps = filesOf(name, '.d.ts.map')
    expect(maps.toSorted()).toEqual(declarations.map(path => `${path}.map`).toSorted())
    for (const path of declarations) {
      const [, map] = readFileSync(join(folderOf(name), path), 'utf8').match(/\/\/# sourceMappingURL=(.*)/) ?? []
      expect(`dist/${relative('dist', join(path, '..', map ?? ''))}`).toBe(`${path}.map`)
    }
  })

  it('name sources that come along, or lie in @prismal/sources', () => {
    for (const name of NAMES)
      for (const path of filesOf(name, '.d.ts.map')) {
        const { sources } = JSON.parse(readFileSync(join(folderOf(name), path), 'utf8')) as { sources: string[] }
        expect(sources).toHaveLength(1)
        const source = resolve(folderOf(name), path, '..', sources[0] as string)
        expect(existsSync(source), source).toBe(true)
      }
  })

  const program = `import { cluster, createPlan, Device } from '@prismal/distribute'
import { imageClassification, loadVit } from '@prismal/models'
import { Engine, softmax } from '@prismal/tensor'
import { pipeline } from 'prismal'
const classify = await pipeline('image-classification', 'a')
await classify.dispose()
`
  /** The words, with the file and the text of the line that an editor opens for each. */
  const opened = async (where: string, words: readonly string[]): Promise<string[]> => {
    const places = await definitions(join(where, 'program.ts'), program, words)
    return places.map((place, i) => {
      if (!place) return `${words[i]} leads nowhere`
      const line = readFileSync(place.file, 'utf8').split('\n')[place.start.line - 1] ?? ''
      return `${relative(join(where, 'node_modules'), place.file)}: ${line.slice(place.start.offset - 1).trim()}`
    })
  }

  it('lead an editor to the TypeScript', async () => {
    const words = [
      'softmax',
      'Engine',
      'loadVit',
      'imageClassification',
      'cluster',
      'createPlan',
      'Device',
      'pipeline(',
    ]
    expect(await opened(every.project, [...words, 'dispose'])).toEqual([
      expect.stringMatching(/^@prismal\/tensor\/dist\/src\/operations\.ts: softmax\(/),
      expect.stringMatching(/^@prismal\/tensor\/dist\/src\/engine\.ts: Engine /),
      expect.stringMatching(/^@prismal\/models\/dist\/src\/families\.ts: loadVit\(/),
      expect.stringMatching(/^@prismal\/models\/dist\/src\/pipelines\/classification\.ts: imageClassification/),
      expect.stringMatching(/^@prismal\/sources\/dist\/distribute\/cluster\.ts: cluster/),
      expect.stringMatching(/^@prismal\/sources\/dist\/distribute\/plan\.ts: createPlan/),
      expect.stringMatching(/^@prismal\/sources\/dist\/distribute\/device\.ts: Device/),
      expect.stringMatching(/^@prismal\/sources\/dist\/prismal\/pipeline\.ts: pipeline</),
      expect.stringMatching(/^@prismal\/models\/dist\/src\/pipelines\/pipeline\.ts: dispose\(/),
    ])
  })

  it('lead to the declarations where @prismal/sources is not installed', async () => {
    const without = install(every.packed, MAPPED)
    expect(await opened(without, ['loadVit', 'cluster', 'pipeline('])).toEqual([
      expect.stringMatching(/^@prismal\/models\/dist\/src\/families\.ts: loadVit\(/),
      expect.stringMatching(/^@prismal\/distribute\/dist\/cluster\.d\.ts: cluster/),
      expect.stringMatching(/^prismal\/dist\/pipeline\.d\.ts: pipeline</),
    ])
  })
})
