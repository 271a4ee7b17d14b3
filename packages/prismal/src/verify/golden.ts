/** Golden folders: a model, its inputs, and what it must give, alone and shared. Format: see `weights-tools/python`. */

import { PUBLISHED, type SharingOptions, type WireFormat } from '@prismal/distribute'
import {
  ModelError,
  type ModelFiles,
  type Part,
  parseSafetensors,
  patchify,
  readFile,
  readJson,
  type StoredArray,
  type VitShape,
} from '@prismal/models'

/** One way of sharing, as cases.json has it: `segments` null is `full`, 0 is `isolated`. */
export interface GoldenCase {
  readonly name: string
  readonly devices: number
  /** No case is in four bits. */
  readonly options: SharingOptions & { readonly wire?: Exclude<WireFormat, 'int4'> }
}

export interface Golden {
  readonly location: string
  /** Names of the input tensors of each example. */
  readonly examples: readonly (readonly string[])[]
  readonly inputs: ReadonlyMap<string, StoredArray>
  readonly outputs: ReadonlyMap<string, StoredArray>
  readonly cases: readonly GoldenCase[]
  readonly greedy: readonly GoldenCase[]
}

/** Throws `ModelError` where the folder is not a golden one. */
export async function readGolden(files: ModelFiles): Promise<Golden> {
  try {
    return await read(files)
  } finally {
    await files.close?.()
  }
}

async function read(files: ModelFiles): Promise<Golden> {
  const json = await readJson(files, 'cases.json')
  if (!json) throw new ModelError(`${files.location} has no cases.json: there is nothing to verify it against`)
  const arrays = async (name: string): Promise<Map<string, StoredArray>> =>
    parseSafetensors(await readFile(files, name), `${files.location}/${name}`)
  const list = (value: unknown, what: string): unknown[] => {
    if (!Array.isArray(value)) throw new ModelError(`${files.location}/cases.json: ${what} is not a list`)
    return value
  }
  return {
    location: files.location,
    examples: list(json.inputs, 'inputs').map(names => list(names, 'an input') as string[]),
    inputs: await arrays('inputs.safetensors'),
    outputs: await arrays('outputs.safetensors'),
    cases: list(json.cases, 'cases').map(c => parseCase(c as Record<string, unknown>)),
    greedy: list(json.greedy ?? [], 'greedy').map(c => parseCase(c as Record<string, unknown>)),
  }
}

function parseCase(json: Record<string, unknown>): GoldenCase {
  const weights = json.weights as number[] | undefined
  const segments = json.segments as number | null | undefined
  const common = {
    ...PUBLISHED,
    point: (json.point ?? 'input') as 'input' | 'normed',
    wire: (json.wire ?? 'f32') as 'f32' | 'f16' | 'int8',
    sink: (json.sink ?? 0) as number,
    handoff: (json.handoff ?? 'means') as 'means' | 'full',
    ...(weights && { weights }),
    ...(json.lost ? { lost: json.lost as [number, number] } : {}),
  }
  const strategy =
    segments === null || segments === undefined ? 'full' : segments === 0 && common.sink === 0 ? 'isolated' : 'means'
  return {
    name: String(json.name),
    devices: weights?.length ?? ((json.devices ?? 1) as number),
    options: { ...common, strategy, ...(strategy === 'means' && { segments: segments as number }) },
  }
}

/** An example's tensors as a sequence. */
export function sequenceOf(golden: Golden, example: number, shape: VitShape | undefined): Part {
  const arrays = (golden.examples[example] as readonly string[]).map(name => {
    const array = golden.inputs.get(name)
    if (!array) throw new ModelError(`${golden.location}/inputs.safetensors lacks ${name}`)
    return array.values
  })
  const [first, second] = arrays
  if (shape) return patchify(Float32Array.from(first as Float32Array), shape)
  const ids = Int32Array.from(first as Int32Array)
  return { from: 0, to: ids.length, ids, ...(second && { types: Int32Array.from(second as Int32Array) }) }
}
