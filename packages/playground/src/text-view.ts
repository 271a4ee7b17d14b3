/** The view of a text: its continuation by one device and by several, as it comes. */
import { charts, verdict } from './comparison-view.js'
import { byId, element } from './dom.js'
import { devicesInWords } from './format.js'
import { labelTable } from './label-table.js'
import type { Results } from './results.js'
import { isSameSharing } from './sharing-form.js'
import type { Label, Sharing, Way } from './studio/messages.js'
import type { Studio } from './studio/studio.js'

const MODEL = new URL('models/gpt2-chronicle', document.baseURI).href

const BEGINNINGS = [
  {
    name: 'At sea',
    text: 'The captain came on deck before the sun was up, and looked long upon the water. The wind had gone round to the north in the night; the sails hung heavy with rain, and not a man of the crew had slept. “There is land yonder,” said the old sailor, “but I like it not, for there are no birds.” Then the captain answered him,',
  },
  {
    name: 'A psalm',
    text: 'And it came to pass in those days that the people were gathered together upon the hill, and the elders with them, and they lifted up their voices and wept. And the king said unto them, Why do ye weep? Have I not given you fields and vineyards, and rest from your enemies on every side? And the people said unto the king,',
  },
  {
    name: 'An address',
    text: 'Fellow citizens of the Senate and of the House of Representatives: the year that is past has been one of peace with all nations, and of plenty at home. The revenues have exceeded the estimates, the public debt has been reduced, and our commerce is carried on every sea. It remains for the Congress to consider',
  },
] as const

export class TextView {
  readonly #studio: Studio
  readonly #results: Results
  readonly #sharing: () => Sharing
  readonly #prompt = byId('prompt', HTMLTextAreaElement)
  readonly #stopButton = byId('stop', HTMLButtonElement)
  #stop: (() => void) | undefined
  /** How devices share in what is shown or computed. */
  #asked: Sharing | undefined

  constructor(studio: Studio, results: Results, sharing: () => Sharing) {
    this.#studio = studio
    this.#results = results
    this.#sharing = sharing
    this.#prompt.value = BEGINNINGS[0].text
    this.#listen()
  }

  /** Answers again, where there is an answer and devices share otherwise than in it. */
  again(): void {
    if (this.#asked && !isSameSharing(this.#asked, this.#sharing())) this.#ask()
  }

  #ask(): void {
    const prompt = this.#prompt.value.trim()
    this.#stop?.()
    this.#results.fail('')
    if (!prompt) {
      this.#asked = undefined
      this.#results.clear()
      this.#results.fail('There is no text to continue: write a sentence or two, or take one of those below.')
      return
    }
    const sharing = this.#sharing()
    this.#asked = sharing
    const texts: Record<Way, string> = { alone: '', shared: '' }
    let likeliest: readonly Label[] = []
    const areas: Record<Way, HTMLElement> = { alone: paragraph(), shared: paragraph() }
    let isCurrent = true
    this.#results.say('Computing …')
    this.#results.body.setAttribute('aria-busy', 'true')
    this.#results.show(
      continuation('One device', 'alone', areas.alone),
      continuation(devicesInWords(sharing.devices), 'shared', areas.shared),
    )
    this.#stopButton.disabled = false
    const ended = (): void => {
      this.#results.body.removeAttribute('aria-busy')
      this.#stopButton.disabled = true
    }
    const stop = this.#studio.ask({ kind: 'continue', model: MODEL, prompt, sharing }, answer => {
      if (!isCurrent) return
      if (answer.kind === 'failed' || answer.kind === 'done') ended()
      if (answer.kind === 'failed' && !texts.alone) this.#results.body.hidden = true
      if (this.#results.take(answer)) return
      if (answer.kind === 'piece') {
        if (!texts[answer.way])
          this.#results.say(answer.way === 'alone' ? 'One device writes …' : 'The devices write …')
        texts[answer.way] = `${texts[answer.way]}${answer.text}`.trimStart()
        if (answer.way === 'alone') areas.alone.textContent = texts.alone
        else areas.shared.replaceChildren(...marked(texts.alone, texts.shared))
      } else if (answer.kind === 'labels' && answer.way === 'alone') likeliest = answer.labels
      else if (answer.kind === 'labels')
        this.#results.body.append(labelTable('Next token', likeliest, answer.labels, sharing.devices))
      else if (answer.kind === 'compared') {
        this.#results.say(`${verdict(answer.comparison, 'next word')} ${agreement(texts.alone, texts.shared)}`)
        this.#results.body.append(...charts(answer.comparison, true))
      }
    })
    this.#stop = () => {
      isCurrent = false
      stop()
      ended()
    }
  }

  #listen(): void {
    byId('prompt-form', HTMLFormElement).addEventListener('submit', event => {
      event.preventDefault()
      this.#ask()
      this.#results.reveal()
    })
    this.#prompt.addEventListener('keydown', event => {
      if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
      event.preventDefault()
      this.#ask()
    })
    this.#stopButton.addEventListener('click', () => {
      this.#stop?.()
      this.#results.fail('')
      this.#results.say('Stopped.')
      byId('continue', HTMLButtonElement).focus()
    })
    document.querySelector('.beginnings')?.append(
      ...BEGINNINGS.map(({ name, text }) => {
        const button = element('button', { type: 'button' }, name)
        button.addEventListener('click', () => {
          this.#prompt.value = text
          this.#ask()
          this.#results.reveal()
        })
        return element('li', {}, button)
      }),
    )
  }
}

/** A paragraph that runs as what is written into it does, from the left or from the right. */
const paragraph = (): HTMLElement => element('p', { dir: 'auto' })

const continuation = (title: string, way: Way, text: HTMLElement): HTMLElement =>
  element('article', { class: `continuation ${way}` }, element('h3', {}, title), text)

/** How far two texts are the same. */
function alike(a: string, b: string): number {
  let same = 0
  while (same < a.length && same < b.length && a[same] === b[same]) same++
  return same
}

/** The shared text, from where it departs from the other marked. */
function marked(alone: string, shared: string): (string | Node)[] {
  const same = alike(alone, shared)
  if (same === shared.length) return [shared]
  return [shared.slice(0, same), element('mark', {}, shared.slice(same))]
}

function agreement(alone: string, shared: string): string {
  if (alone === shared) return 'Both continuations are the same throughout.'
  const words = alone.slice(0, alike(alone, shared)).trim().split(/\s+/).filter(Boolean).length
  if (words === 0) return 'The continuations part at the first word, as marked.'
  return `The continuations part after ${words} ${words === 1 ? 'word' : 'words'}, as marked.`
}
