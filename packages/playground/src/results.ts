/** A view's results: what is going on, what went wrong, and below it what the view shows. */
import { byId, element } from './dom.js'
import { megabytes } from './format.js'
import type { Answer, RunsOn } from './studio/messages.js'

export class Results {
  /** What the view shows; hidden until it has something. */
  readonly body = element('div', { class: 'answer', hidden: '' })
  readonly #place: HTMLElement
  readonly #alert = element('p', { role: 'alert', class: 'alert' })
  readonly #status = element('p', { role: 'status', class: 'status' })
  readonly #progress = element('progress', { max: '100', value: '0' })
  readonly #amount = element('span')
  readonly #loading = element('label', { class: 'loading', hidden: '' }, this.#amount, this.#progress)

  /** Shows them in `place`; `status` is what is said before anything was asked. */
  constructor(place: HTMLElement, status: string) {
    this.#place = place
    place.append(this.#alert, this.#status, this.#loading, this.body)
    this.say(status)
  }

  /** Brings them into sight where they lie below it, as they do on a phone. */
  reveal(): void {
    if (this.#place.getBoundingClientRect().top < 0.8 * innerHeight) return
    const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches
    this.#place.parentElement?.scrollIntoView({ behavior: isCalm ? 'auto' : 'smooth' })
  }
  /** Shows what the view has made. */
  show(...made: Node[]): void {
    byId('how', HTMLElement).hidden = true
    this.body.hidden = false
    this.body.replaceChildren(...made)
  }
  /** Shows nothing of what the view has made. */
  clear(): void {
    this.body.hidden = true
    this.body.replaceChildren()
  }
  say(status: string): void {
    this.#status.textContent = status
  }
  /** Says what went wrong; with '' nothing did. */
  fail(message: string): void {
    this.#alert.textContent = message
    this.#loading.hidden = true
    if (message) this.say('')
  }
  /** Shows an answer that tells how far things are, the same for every question; false where it is none. */
  take(answer: Answer): boolean {
    if (answer.kind === 'progress') this.#load(answer.loadedBytes, answer.totalBytes)
    else if (answer.kind === 'loaded') {
      this.#loading.hidden = true
      tellWhatItRunsOn(answer.runsOn)
    } else if (answer.kind === 'step') this.say(`${answer.step} …`)
    else if (answer.kind === 'failed') this.fail(answer.message)
    else return false
    return true
  }

  #load(loadedBytes: number, totalBytes: number): void {
    this.#loading.hidden = false
    this.#amount.textContent = `Loading the model: ${megabytes(loadedBytes)} of ${megabytes(totalBytes)} MB`
    this.#progress.value = (100 * loadedBytes) / totalBytes
  }
}

function tellWhatItRunsOn({ build, threads, reasons }: RunsOn): void {
  const told = byId('runs-on', HTMLElement)
  const isSlow = build === 'reference'
  const each = threads === 1 ? 'one thread' : `${threads} threads`
  told.classList.toggle('warning', isSlow)
  told.textContent = isSlow
    ? `This browser has no WebAssembly with SIMD, or it is switched off, so plain JavaScript computes: the same answers, many times slower (${reasons.join('; ')}).`
    : `Computed here by ${build} kernels in WebAssembly, with ${each} a device.`
}
