/** Tokenizers of other make than the published ones: words as `tokenizers` 0.23 cuts them. */
import { Tokenizer } from '@prismal/models'
import { describe, expect, it } from 'vitest'

/** The words that a normalizer and a pre-tokenizer make of a text. */
function wordsOf(text: string, words: readonly string[], parts: object): (string | undefined)[] {
  const vocab = Object.fromEntries(['[UNK]', ...words].map((word, id) => [word, id]))
  const model = { type: 'WordLevel', vocab, unk_token: '[UNK]' }
  const json = { added_tokens: [], normalizer: null, post_processor: null, decoder: null, ...parts, model }
  const tokenizer = new Tokenizer(json, {}, 'words')
  return [...(tokenizer.encode(text).ids as Int32Array)].map(id => tokenizer.token(id))
}

describe('the pre-tokenizer Whitespace', () => {
  const words = ['naïve', '"', 'café', '",', 'слово_1', '日本語', 'हिन्दी', '²½!?', 'می\u200cخواهم', 'x', '\ufeff', 'y']
  const text = 'naïve "café", слово_1 日本語 हिन्दी²½!? می\u200cخواهم x\ufeffy'

  it.each<[string, object]>([
    ['alone', { type: 'Whitespace' }],
    ['in a sequence', { type: 'Sequence', pretokenizers: [{ type: 'Whitespace' }] }],
  ])('cuts where letters of any script end, %s', (_, pre_tokenizer) => {
    expect(wordsOf(text, words, { pre_tokenizer })).toEqual(words)
  })
})

describe('normalizing', () => {
  const pre_tokenizer = { type: 'WhitespaceSplit' }
  const bert = { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true }

  it('sets Chinese characters apart, those beyond U+FFFF too', () => {
    // U+2F804 is decomposed, and U+2B820, of a block that the original's list lacks, is left.
    const text = 'a\u{20000}\u{2A700}b 中\u{2F804}c \u{2B820}d'
    const words = ['a', '\u{20000}', '\u{2A700}', 'b', '中', '你', 'c', '\u{2B820}d']
    expect(wordsOf(text, words, { normalizer: bert, pre_tokenizer })).toEqual(words)
    const whole = ['a\u{20000}\u{2A700}b', '中你c', '\u{2B820}d']
    const normalizer = { ...bert, handle_chinese_chars: false }
    expect(wordsOf(text, whole, { normalizer, pre_tokenizer })).toEqual(whole)
  })

  it.each<[string, object]>([
    ['BERT', { ...bert, strip_accents: false }],
    ['Lowercase', { type: 'Lowercase' }],
    ['a sequence', { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] }],
  ])('lowercases each character alone, without a final sigma: %s', (_, normalizer) => {
    const words = ['σίσυφοσ', 'οδοσ', 'σοφος']
    expect(wordsOf('ΣΊΣΥΦΟΣ ΟΔΟΣ ΣΟΦΟς', words, { normalizer, pre_tokenizer })).toEqual(words)
  })

  it('leaves capitals where they are kept', () => {
    const normalizer = { ...bert, lowercase: false }
    expect(wordsOf('ΟΔΟΣ', ['ΟΔΟΣ'], { normalizer, pre_tokenizer })).toEqual(['ΟΔΟΣ'])
  })
})
