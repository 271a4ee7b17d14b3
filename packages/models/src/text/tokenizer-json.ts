/** tokenizer.json spelt so that `@huggingface/tokenizers` does what the original, `tokenizers` in Rust, does with it. */

/** A normalizer or a pre-tokenizer. */
type Part = Readonly<Record<string, unknown>> & {
  readonly pretokenizers?: readonly Part[]
  readonly normalizers?: readonly Part[]
}
type TokenizerJson = { readonly normalizer?: Part | null; readonly pre_tokenizer?: Part | null }

export function asTheLibraryReads(json: TokenizerJson): object {
  const { normalizer, pre_tokenizer } = json
  return {
    ...json,
    ...(normalizer && { normalizer: translatedNormalizer(normalizer) }),
    ...(pre_tokenizer && { pre_tokenizer: translatedPreTokenizer(pre_tokenizer) }),
  }
}

/** What the original surrounds with spaces; the library sees halves of those beyond U+FFFF. */
const CHINESE_BEYOND_FFFF = String.raw`[\u{20000}-\u{2A6DF}\u{2A700}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{2F800}-\u{2FA1F}]`
const SPACED = { type: 'Replace', pattern: { Regex: CHINESE_BEYOND_FFFF }, content: ' $& ' }
/** The original lowercases each character alone: it has no final sigma. */
const SMALL_SIGMA = { type: 'Replace', pattern: { String: 'Σ' }, content: 'σ' }

function translatedNormalizer(part: Part): Part {
  if (part.normalizers) return { ...part, normalizers: part.normalizers.map(translatedNormalizer) }
  const isBert = part.type === 'BertNormalizer'
  const before = [
    ...(isBert && part.handle_chinese_chars !== false ? [SPACED] : []),
    ...(part.type === 'Lowercase' || (isBert && part.lowercase !== false) ? [SMALL_SIGMA] : []),
  ]
  return before.length > 0 ? { type: 'Sequence', normalizers: [...before, part] } : part
}

/** GPT-2's, as `tokenizers` has it (pre_tokenizers/byte_level.rs). */
const BYTE_LEVEL_WORDS = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

/** Rust's `\w`; the library's own `Whitespace` knows only ASCII's. */
const WORD = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200C\u200D`
const WORDS = String.raw`[${WORD}]+|[^${WORD}\p{White_Space}]+`

function translatedPreTokenizer(part: Part): Part {
  if (part.pretokenizers) return { ...part, pretokenizers: part.pretokenizers.map(translatedPreTokenizer) }
  if (part.type === 'Whitespace') return { type: 'Split', pattern: { Regex: WORDS }, behavior: 'Removed', invert: true }
  // The library splits words for byte-level BPE by JavaScript's `\s`, which has U+FEFF and lacks U+0085; the original goes
  // by Unicode. A `Split` with the same expression is translated rightly, so that is put in front.
  // With a space put before the text, the splitting would have to come after it: left to the library.
  if (part.type !== 'ByteLevel' || part.use_regex === false || part.add_prefix_space) return part
  const split = { type: 'Split', pattern: { Regex: BYTE_LEVEL_WORDS }, behavior: 'Isolated', invert: false }
  return { type: 'Sequence', pretokenizers: [split, { ...part, use_regex: false }] }
}
