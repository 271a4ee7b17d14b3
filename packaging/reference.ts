/**
 * `npm run docs`: the API reference of the packages, in `docs/reference`, a page for whatever their exports' types lead to.
 * Fails where a link leads nowhere or a type that is used is not exported.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Application, Converter, ReflectionKind } from 'typedoc'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Import paths, by their modules' sources. */
const paths = new Map<string, string>()
for (const folder of ['prismal', 'tensor', 'models', 'distribute']) {
  const { name, exports } = JSON.parse(readFileSync(`${root}packages/${folder}/package.json`, 'utf8')) as {
    name: string
    exports: Record<string, string | { types?: string }>
  }
  for (const [path, target] of Object.entries(exports)) {
    if (typeof target !== 'object' || !target.types) continue
    const source = target.types.replace('./dist/', '').replace('.d.ts', '.ts')
    paths.set(`${root}packages/${folder}/src/${source}`, path.replace('.', name))
  }
}

const app = await Application.bootstrap({
  name: 'prismal',
  entryPoints: [...paths.keys()],
  tsconfig: `${root}tsconfig.check.json`,
  out: `${root}docs/reference`,
  readme: 'none',
  excludeInternal: true,
  excludePrivate: true,
  // `npm run typecheck` does.
  skipErrorChecking: true,
  disableSources: true,
  sort: ['source-order'],
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
  validation: {
    invalidLink: true,
    invalidPath: true,
    notExported: true,
    rewrittenLink: true,
    unusedMergeModuleWith: true,
  },
})
// Modules are called as they are imported.
app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
  const file =
    reflection.kindOf(ReflectionKind.Module) && context.getSymbolFromReflection(reflection)?.declarations?.[0]
  const path = file && paths.get(file.getSourceFile().fileName)
  if (path) reflection.name = path
})
const project = await app.convert()
if (project) {
  app.validate(project)
  await app.generateOutputs(project)
}
const problems = app.logger.errorCount + app.logger.warningCount
if (!project || problems > 0) process.exitCode = 1
