/** Texts: continued alone and shared, and compared by how likely each first token is. */
import {
  aloneRunner,
  InputError,
  loadModel,
  loadTokenizer,
  type Model,
  ModelError,
  type Part,
  type Runner,
  readJson,
  type Tokenizer,
  urlFiles,
} from 'prismal/models'
import { createEngine } from 'prismal/tensor'
import { type Asked, compare } from './compare.js'
import type { Answer, Label, Question, Way } from './messages.js'
import { Team } from './team.js'

/** Tokens that a text is continued by. */
const NEW_TOKENS = 60
/** Tokens whose probabilities are told. */
const LIKELIEST = 5
/** Greedy, so that both ways may be compared; without a penalty a small model soon repeats itself. */
const SAMPLING = { temperature: 0, repetitionPenalty: 1.25 } as const

export class Text {
  readonly #model: Model
  readonly #tokenizer: Tokenizer
  readonly #endIds: readonly number[]
  readonly team: Team

  private constructor(model: Model, tokenizer: Tokenizer, endIds: readonly number[]) {
    this.#model = model
    this.#tokenizer = tokenizer
    this.#endIds = endIds
    this.team = new Team(model)
  }
  static async load(location: string, progress: (loadedBytes: number, totalBytes: number) => void): Promise<Text> {
    const files = urlFiles(location)
    const tokenizer = await loadTokenizer(files)
    if (!tokenizer) throw new ModelError(`${location} has no tokenizer.json`)
    const endId = (await readJson(files, 'generation_config.json'))?.eos_token_id
    const model = await loadModel(files, {
      engine: await createEngine(),
      progress: ({ loadedBytes, totalBytes }) => progress(loadedBytes, totalBytes),
    })
    await files.close?.()
    return new Text(model, tokenizer, typeof endId === 'number' ? [endId] : [])
  }

  /** Tells the continuations as they come, then how the ways compare. */
  async answer(
    { prompt, sharing }: Extract<Question, { kind: 'continue' }>,
    tell: (answer: Answer) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const part = this.#tokenizer.encode(prompt)
    const { positions } = this.#model.shape
    if (part.to < sharing.devices)
      throw new InputError(
        `the text has ${part.to} tokens, too few for ${sharing.devices} devices: write a sentence or two`,
      )
    if (part.to + NEW_TOKENS > positions)
      throw new InputError(`the text has ${part.to} tokens; the model takes ${positions - NEW_TOKENS} here: shorten it`)
    const one = aloneRunner(this.#model)
    await this.#stream('alone', one, part, tell, signal)
    const runner = await this.team.runner(sharing, step => tell({ kind: 'step', step }))
    await this.#stream('shared', runner, part, tell, signal)
    const alone = () => this.#next(one, part, signal)
    const shared = () => this.#next(runner, part, signal)
    const { probabilities } = await alone()
    const likeliest = largest(probabilities, LIKELIEST)
    tell({ kind: 'labels', way: 'alone', labels: this.#labels(probabilities, likeliest) })
    tell({ kind: 'labels', way: 'shared', labels: this.#labels((await shared()).probabilities, likeliest) })
    const comparison = await compare({
      ...{ model: this.#model, part, sharing, runner, alone, shared },
      ...{ want: 'last', decodes: true },
    })
    tell({ kind: 'compared', comparison })
  }

  async #stream(
    way: Way,
    runner: Runner,
    part: Part,
    tell: (answer: Answer) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const request = runner.begin(signal)
    try {
      const ids: number[] = []
      let given = 0
      const options = { maxNewTokens: NEW_TOKENS, sampling: SAMPLING, endIds: this.#endIds }
      for await (const { id, end } of request.tokens([part], options)) {
        ids.push(id)
        const text = this.#tokenizer.decode(ids)
        // A character's last bytes may be yet to come.
        const complete = text.endsWith('\uFFFD') && !end ? text.length - 1 : text.length
        if (complete > given) tell({ kind: 'piece', way, text: text.slice(given, complete) })
        given = Math.max(given, complete)
      }
    } finally {
      request.end()
    }
  }

  #labels(probabilities: readonly number[], ids: readonly number[]): Label[] {
    const visible = (text: string): string => text.replaceAll(' ', '␣').replaceAll('\n', '↵')
    return ids.map(id => ({ label: visible(this.#tokenizer.decode([id])), score: probabilities[id] as number }))
  }

  /** How likely each token is to come first. */
  async #next(runner: Runner, part: Part, signal: AbortSignal): Promise<Asked> {
    const request = runner.begin(signal)
    try {
      let logits = new Float32Array()
      for await (const token of request.tokens([part], { maxNewTokens: 1, withLogits: true }))
        logits = (token.logits ?? logits) as Float32Array<ArrayBuffer>
      return { probabilities: softmax(logits), report: request.report() }
    } finally {
      request.end()
    }
  }
}

/** Indices of the largest values, the largest first. */
const largest = (values: readonly number[], count: number): number[] =>
  [...values.keys()].sort((a, b) => (values[b] as number) - (values[a] as number)).slice(0, count)

function softmax(logits: Float32Array): number[] {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const weights = Array.from(logits, v => Math.exp(v - largest))
  const sum = weights.reduce((a, b) => a + b, 0)
  return weights.map(w => w / sum)
}
