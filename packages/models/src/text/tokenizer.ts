/** Texts to token ids and back, by `@huggingface/tokenizers` from tokenizer.json. */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { InputError, kindOf, ModelError } from '../errors.js'
import { type ModelFiles, readJson } from '../files.js'
import { type Part, textPart } from '../input.js'
import { asTheLibraryReads } from './tokenizer-json.js'

type Encoding = ReturnType<HuggingFaceTokenizer['encode']> & { token_type_ids?: number[] | undefined }

export interface EncodeOptions {
  /** A second text, for pairs. */
  readonly pair?: string
  /** Special tokens as the model's post-processor adds them; default true. */
  readonly specialTokens?: boolean
  /** Cuts a longer text to this many tokens, special ones included; of a pair the longer text first. Default: never. */
  readonly maxTokens?: number
}

export class Tokenizer {
  readonly #tokenizer: HuggingFaceTokenizer
  /** Id of the mask token, where there is one. */
  readonly maskId: number | undefined

  constructor(json: object, config: object, where: string) {
    try {
      this.#tokenizer = new HuggingFaceTokenizer(asTheLibraryReads(json), config)
    } catch (cause) {
      throw new ModelError(`${where}: the tokenizer cannot be built: ${(cause as Error).message}`, { cause })
    }
    const mask = (config as { mask_token?: string | { content?: string } }).mask_token ?? '[MASK]'
    this.maskId = this.id(typeof mask === 'string' ? mask : (mask.content ?? '[MASK]'))
  }

  /** Ids (and types) of a text as a whole sequence. Throws {@link InputError} for what is no text. */
  encode(text: string, options: EncodeOptions = {}): Part {
    const { pair, specialTokens = true, maxTokens: most = Number.POSITIVE_INFINITY } = options
    for (const one of [text, pair ?? ''])
      if (typeof one !== 'string') throw new InputError(`a text is a string; ${kindOf(one)} was given`)
    const { ids, token_type_ids: types } = this.#encode(text, pair, specialTokens)
    if (ids.length <= most) return textPart(ids, types)
    if (pair !== undefined) return this.#cutPair(text, pair, specialTokens, most)
    const tail = this.#closingTokens()
    if (!(most > tail))
      throw new InputError(`a text cannot be cut to ${most} tokens: ${tail} go to the special ones that end it`)
    const keep = (values: readonly number[]): number[] => [
      ...values.slice(0, most - tail),
      ...(tail > 0 ? values.slice(-tail) : []),
    ]
    return textPart(keep(ids), types && keep(types))
  }

  /** The text of ids; special tokens are left out unless asked for. */
  decode(ids: readonly number[], options: { readonly specialTokens?: boolean } = {}): string {
    if (ids.length === 0) return ''
    return this.#tokenizer.decode([...ids], {
      skip_special_tokens: !options.specialTokens,
      clean_up_tokenization_spaces: false,
    })
  }

  id(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token)
  }
  token(id: number): string | undefined {
    return this.#tokenizer.id_to_token(id)
  }

  #encode(text: string, pair: string | undefined, specialTokens: boolean): Pick<Encoding, 'ids' | 'token_type_ids'> {
    if (pair !== '')
      return this.#tokenizer.encode(text, {
        add_special_tokens: specialTokens,
        return_token_type_ids: true,
        ...(pair !== undefined && { text_pair: pair }),
      })
    // The library takes an empty second text for none, and would leave out the token that ends it.
    return this.#joined(this.#tokenizer.tokenize(text), [], specialTokens)
  }

  #joined(first: string[], second: string[], specialTokens: boolean): Pick<Encoding, 'ids' | 'token_type_ids'> {
    const whole = this.#tokenizer.post_processor?.post_process(first, second, specialTokens)
    const tokens: string[] = whole?.tokens ?? [...first, ...second]
    const ids = tokens.map(t => this.id(t) ?? (this.#tokenizer.model.unk_token_id as number))
    return { ids, token_type_ids: whole?.token_type_ids }
  }

  /** As `tokenizers` cuts pairs (`longest_first`). */
  #cutPair(text: string, pair: string, specialTokens: boolean, most: number): Part {
    const [first, second] = [text, pair].map(t => this.#tokenizer.tokenize(t)) as [string[], string[]]
    const special = this.#joined([], [], specialTokens).ids.length
    if (!(most >= special))
      throw new InputError(`a pair cannot be cut to ${most} tokens: ${special} go to its special ones`)
    const room = most - special
    const shorter = Math.min(first.length, second.length, Math.floor(room / 2))
    const longer = room - shorter
    const isFirstShorter = first.length <= second.length
    const [a, b] = isFirstShorter ? [shorter, longer] : [longer, shorter]
    const { ids, token_type_ids: types } = this.#joined(first.slice(0, a), second.slice(0, b), specialTokens)
    return textPart(ids, types)
  }

  /** How many special tokens the post-processor puts after a text. */
  #closingTokens(): number {
    const bare = this.#tokenizer.encode('a', { add_special_tokens: false }).ids
    const full = this.#tokenizer.encode('a', { add_special_tokens: true }).ids
    return full.length - bare.length - Math.max(0, full.indexOf(bare[0] as number))
  }
}

/** The tokenizer of a model folder, or undefined where it has none. */
export async function loadTokenizer(files: ModelFiles): Promise<Tokenizer | undefined> {
  const json = await readJson(files, 'tokenizer.json')
  if (!json) return undefined
  const config = (await readJson(files, 'tokenizer_config.json')) ?? {}
  return new Tokenizer(json, config, `${files.location}/tokenizer.json`)
}
