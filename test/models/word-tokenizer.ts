/** A tokenizer of few words, for tiny models. */
import { Tokenizer } from '@prismal/models'

/** Words w0, w1, … after BERT's special tokens: 61 in all, as many as tiny models know. */
export function wordTokenizer(): Tokenizer {
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
  const words = [...special, ...Array.from({ length: 56 }, (_, i) => `w${i}`)]
  const template = (id: string, type_id: number, kind = 'SpecialToken') => ({ [kind]: { id, type_id } })
  const single = [template('[CLS]', 0), template('A', 0, 'Sequence'), template('[SEP]', 0)]
  const ids = (token: string, id: number) => ({ id: token, ids: [id], tokens: [token] })
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  const json = {
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, template('B', 1, 'Sequence'), template('[SEP]', 1)],
      special_tokens: { '[CLS]': ids('[CLS]', 2), '[SEP]': ids('[SEP]', 3) },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  }
  return new Tokenizer(json, {}, 'words')
}
