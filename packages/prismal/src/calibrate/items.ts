/** What calibration tries: the sequences that a pipeline makes of its inputs. */
import { type EncodeOptions, InputError, type Part, type Runner } from '@prismal/models'
import type { Task } from '../locate.js'

/** One input: a sequence, or two that are compared. Images are read when they are needed, each time: all of them may be gigabytes. */
export interface Item {
  /** Rows of each sequence. */
  readonly lengths: readonly number[]
  read(): Promise<readonly Part[]>
}

/** A pipeline, as far as calibration needs it. */
export interface Calibrated<Input> {
  readonly task: Task
  readonly runner: Runner
  /** The sequence that the model is given for an input, cut as it is told. */
  readonly sequence: (input: Input, cut?: Pick<EncodeOptions, 'maxTokens'>) => Promise<Part> | Part
}

/** A window of text has as many tokens, or as many as the model has positions. */
const WINDOW = 512
/** A shorter rest of a text is left out. */
const LEAST_WINDOW = 32

/** Pairs for feature-extraction, windows of texts for text-generation, else one sequence each. */
export async function itemsOf<Input>(
  tool: Calibrated<Input>,
  inputs: readonly (Input | readonly [Input, Input])[],
): Promise<Item[]> {
  const { task, runner } = tool
  const items: Item[] = []
  for (const group of groupsOf(task, inputs)) items.push(await itemOf(tool, group))
  if (task !== 'text-generation') return items
  const windows: Item[] = []
  for (const item of items) {
    const [part] = await item.read()
    windows.push(...windowsOf(part as Part, runner.model.shape.positions))
  }
  return windows
}

/** Inputs that go together: pairs where they are compared. */
function groupsOf<Input>(task: Task, inputs: readonly (Input | readonly [Input, Input])[]): (readonly Input[])[] {
  const isPair = (input: Input | readonly [Input, Input]): input is readonly [Input, Input] => Array.isArray(input)
  if (task === 'feature-extraction') {
    if (inputs.every(isPair)) return [...inputs]
    const single = inputs.flat() as Input[]
    return Array.from({ length: single.length >> 1 }, (_, i) => single.slice(2 * i, 2 * i + 2))
  }
  if (inputs.some(isPair)) throw new InputError(`calibrate: pairs were given; ${task} takes one input at a time`)
  return (inputs as readonly Input[]).map(input => [input])
}

async function itemOf<Input>({ task, runner, sequence }: Calibrated<Input>, group: readonly Input[]): Promise<Item> {
  const { family, shape } = runner.model
  // A longer text than the model takes is cut; one for text-generation becomes windows.
  const cut = task === 'text-generation' ? {} : { maxTokens: shape.positions }
  const read = async (): Promise<Part[]> => {
    const parts: Part[] = []
    for (const input of group) parts.push(await sequence(input, cut))
    return parts
  }
  if (family === 'vit') return { lengths: group.map(() => shape.positions), read }
  return kept(await read())
}

const kept = (parts: readonly Part[]): Item => ({ lengths: parts.map(p => p.to), read: async () => parts })

/** A text's windows, one item each. */
function windowsOf({ ids = new Int32Array(0) }: Part, positions: number): Item[] {
  const size = Math.min(WINDOW, positions)
  const items: Item[] = []
  for (let at = 0; at + Math.min(LEAST_WINDOW, size) <= ids.length; at += size) {
    const window = ids.slice(at, at + size)
    items.push(kept([{ from: 0, to: window.length, ids: window }]))
  }
  return items
}
