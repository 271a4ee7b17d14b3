/** What bundles of the packed packages leave out: a family alone brings nothing of the others. */
import { join } from 'node:path'
import { nodeResolve } from '@rollup/plugin-node-resolve'
import { build } from 'esbuild'
import { rollup } from 'rollup'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { install, type Packed, pack } from './pack.js'

let packed: Packed
let project: string
beforeAll(() => {
  packed = pack(['@prismal/tensor', '@prismal/models', '@prismal/distribute'])
  project = install(packed, ['@prismal/tensor', '@prismal/models', '@prismal/distribute'])
})
afterAll(() => packed?.remove())

/** Texts that only the code of one part has. */
const MARKERS = {
  vit: 'patch_embeddings',
  bert: 'token_type_embeddings',
  gpt2: 'ln_f',
  tokenizer: 'WordPiece',
  generation: 'repetition_penalty',
  devices: 'compressionRate',
} as const
type Part = keyof typeof MARKERS
const partsOf = (code: string): Part[] => (Object.keys(MARKERS) as Part[]).filter(part => code.includes(MARKERS[part]))

const NEEDED = "aloneRunner, urlFiles } from '@prismal/models'\nexport { createEngine } from '@prismal/tensor'"
const PROGRAMS: readonly (readonly [string, string, readonly Part[]])[] = [
  ['the engine', "export { createEngine } from '@prismal/tensor'", []],
  ['ViT', `export { imageClassification, loadVit, patchify, preprocess, ${NEEDED}`, ['vit']],
  ['BERT', `export { featureExtraction, loadBert, loadTokenizer, ${NEEDED}`, ['bert', 'tokenizer']],
  ['GPT-2', `export { loadGpt2, loadTokenizer, textGeneration, ${NEEDED}`, ['gpt2', 'tokenizer', 'generation']],
  ['every family', `export { loadModel, ${NEEDED}`, ['vit', 'bert', 'gpt2']],
  [
    'all of it',
    "export * as models from '@prismal/models'\nexport * as distribute from '@prismal/distribute'",
    Object.keys(MARKERS) as Part[],
  ],
]

describe.each([
  ['esbuild', bundleByEsbuild],
  ['Rollup', bundleByRollup],
])('%s', (_, bundle) => {
  it.each(PROGRAMS)('takes of the packages, for %s, only its parts', async (_, program, parts) => {
    const code = await bundle(program)
    expect(code.length).toBeGreaterThan(10_000)
    expect(partsOf(code)).toEqual(parts)
  })
})

async function bundleByEsbuild(program: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: project },
    ...{ bundle: true, write: false, format: 'esm', platform: 'browser', logLevel: 'error' },
  })
  return outputFiles[0]?.text as string
}

async function bundleByRollup(program: string): Promise<string> {
  const entry = join(project, 'entry.js')
  const bundle = await rollup({
    input: entry,
    plugins: [
      {
        name: 'program',
        resolveId: id => (id === entry ? id : null),
        load: id => (id === entry ? program : null),
      },
      nodeResolve({ browser: true }),
    ],
    onwarn: warning => {
      throw new Error(warning.message)
    },
  })
  const { output } = await bundle.generate({ format: 'es', inlineDynamicImports: true })
  return output[0].code
}
