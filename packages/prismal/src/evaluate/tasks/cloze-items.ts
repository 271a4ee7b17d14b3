/** Questions made of texts as the Children's Book Test (arXiv 1511.02301) makes them: 20 sentences, one more that lacks a word, ten candidates. */
import { below, randomWords } from '../random.js'

export interface ClozeItem {
  readonly document: number
  readonly context: string
  /** The sentence with each candidate in place of the word that it lacks. */
  readonly sentences: readonly string[]
  /** Number of the candidate that was there. */
  readonly truth: number
}

const CONTEXT = 20
const CANDIDATES = 10
const LEAST_WORDS = 5
const MOST_WORDS = 60

/** Words that say little, which no question is about. */
const FUNCTION_WORDS = new Set(
  `about above after again against also although another because been before being below between both came come could down each even ever every
  from hath have having hast here hers herself himself into itself just less like made make many more most much must myself neither never
  none only other ours over same shall shalt should since some such than that thee their theirs them themselves then thence there therefore
  these they thine this those thou though through thus unto upon very were what when whence where wherefore which while whom whose will wilt
  with within without would your yours yourself`.split(/\s+/),
)

interface Word {
  readonly text: string
  readonly at: number
  readonly kind: 'name' | 'word'
}

/** Of consecutive runs of sentences, one question each where there is one. The same texts and seed give the same questions. */
export function clozeItems(documents: readonly string[], seed: number): ClozeItem[] {
  return documents.flatMap((text, document) => {
    const sentences = sentencesOf(text)
    const items: ClozeItem[] = []
    for (let at = 0; at + CONTEXT < sentences.length; at += CONTEXT + 1) {
      const words = randomWords(seed, document * 65_536 + at)
      const asked = question(sentences.slice(at, at + CONTEXT), sentences[at + CONTEXT] as string, words)
      if (asked) items.push({ document, ...asked })
    }
    return items
  })
}

/** Sentences of a length that is one's; others end nothing and are dropped. */
function sentencesOf(text: string): string[] {
  return text
    .replace(/\s+/g, ' ')
    .split(/(?<=[.!?;]["'”’)]*) (?=["'“‘(]?[A-Z])/)
    .map(s => s.trim())
    .filter(s => {
      const words = s.split(' ').length
      return words >= LEAST_WORDS && words <= MOST_WORDS
    })
}

/** What may be asked for: names (capitals within a sentence), and words that carry meaning. */
function wordsOf(sentence: string): Word[] {
  const found: Word[] = []
  for (const { 0: text, index: at } of sentence.matchAll(/[A-Za-z]+(?:['’-][A-Za-z]+)*/g)) {
    if (text.length < 3 || at === 0) continue
    const isName = /^[A-Z][a-z]+$/.test(text)
    if (isName) found.push({ text, at, kind: 'name' })
    else if (/^[a-z]{4,}$/.test(text) && !FUNCTION_WORDS.has(text)) found.push({ text, at, kind: 'word' })
  }
  return found
}

function question(
  context: readonly string[],
  query: string,
  words: () => number,
): Omit<ClozeItem, 'document'> | undefined {
  const known = context.flatMap(wordsOf)
  const asked = wordsOf(query)
  for (const kind of ['name', 'word'] as const) {
    const texts = new Set(known.filter(w => w.kind === kind).map(w => w.text))
    // A word that is there twice would give itself away.
    const answers = asked.filter(w => texts.has(w.text) && asked.filter(o => o.text === w.text).length === 1)
    const others = [...texts].filter(text => !query.includes(text)).sort()
    if (answers.length === 0 || others.length < CANDIDATES - 1) continue
    const { text, at } = answers[below(words, answers.length)] as Word
    const chosen: string[] = []
    while (chosen.length < CANDIDATES - 1) chosen.push(...others.splice(below(words, others.length), 1))
    const truth = below(words, CANDIDATES)
    chosen.splice(truth, 0, text)
    const sentences = chosen.map(candidate => query.slice(0, at) + candidate + query.slice(at + text.length))
    return { context: context.join(' '), sentences, truth }
  }
  return undefined
}
