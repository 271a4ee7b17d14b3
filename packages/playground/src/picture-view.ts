/** The view of a picture: dropped, chosen or one of the samples, and its labels by one device and by several. */
import { charts, verdict } from './comparison-view.js'
import { byId, element } from './dom.js'
import { labelTable } from './label-table.js'
import type { Results } from './results.js'
import { isSameSharing } from './sharing-form.js'
import type { Label, Sharing, Way } from './studio/messages.js'
import type { Studio } from './studio/studio.js'

const SAMPLES = ['cat', 'ship', 'horse', 'plane', 'frog', 'automobile'] as const
/** Browsers show these in elements alone: `createImageBitmap`, which decodes for the model, refuses them. */
const SVG = 'image/svg+xml'
const MODEL = new URL('models/vit-cifar10', document.baseURI).href

export class PictureView {
  readonly #studio: Studio
  readonly #results: Results
  readonly #sharing: () => Sharing
  readonly #preview = document.querySelector('.preview') as HTMLImageElement
  #image: File | undefined
  /** How devices share in what is shown or computed. */
  #asked: Sharing | undefined
  #labels: Partial<Record<Way, readonly Label[]>> = {}
  #stop: (() => void) | undefined

  constructor(studio: Studio, results: Results, sharing: () => Sharing) {
    this.#studio = studio
    this.#results = results
    this.#sharing = sharing
    this.#listen()
  }

  /** Loads the model ahead of the first picture. `ready` is called when it is there. */
  load(ready: () => void): void {
    this.#studio.ask({ kind: 'load', task: 'picture', model: MODEL }, answer => {
      if (this.#results.take(answer) || answer.kind !== 'done') return
      if (!this.#image) this.#results.say('Ready: give it a picture.')
      ready()
    })
  }

  /** Answers again, where there is a picture and devices share otherwise than in its answer. */
  again(): void {
    if (this.#image && this.#asked && !isSameSharing(this.#asked, this.#sharing())) this.#ask(this.#image)
  }

  #ask(image: File): void {
    this.#stop?.()
    if (image !== this.#image) this.#results.clear()
    this.#image = image
    const sharing = this.#sharing()
    this.#asked = sharing
    let isCurrent = true
    this.#results.fail('')
    this.#results.say('Computing …')
    this.#results.body.setAttribute('aria-busy', 'true')
    const stop = this.#studio.ask({ kind: 'classify', model: MODEL, image, sharing }, answer => {
      if (!isCurrent) return
      if (answer.kind === 'failed') this.#results.body.hidden = true
      if (answer.kind === 'failed' || answer.kind === 'done') this.#results.body.removeAttribute('aria-busy')
      if (this.#results.take(answer)) return
      if (answer.kind === 'labels') {
        this.#labels =
          answer.way === 'alone' ? { alone: answer.labels } : { ...this.#labels, [answer.way]: answer.labels }
        if (answer.way === 'shared' || this.#results.body.hidden) this.#show(sharing)
      } else if (answer.kind === 'compared') {
        const { comparison } = answer
        this.#results.say(`${capital(this.#labels.alone?.[0]?.label ?? '')}. ${verdict(comparison, 'label')}`)
        this.#show(sharing, charts(comparison, false))
      }
    })
    this.#stop = () => {
      isCurrent = false
      stop()
    }
  }

  #show(sharing: Sharing, drawn?: readonly HTMLElement[]): void {
    const { alone = [], shared } = this.#labels
    const kept = drawn ?? [...this.#results.body.querySelectorAll('.chart')]
    this.#results.show(labelTable('How likely', alone, shared, sharing.devices), ...kept)
  }

  #listen(): void {
    const file = byId('file', HTMLInputElement)
    byId('choose', HTMLButtonElement).addEventListener('click', () => file.click())
    file.addEventListener('change', () => {
      const [chosen] = file.files ?? []
      if (chosen) this.#give(chosen)
      file.value = ''
    })
    const page = document.documentElement
    page.addEventListener('dragover', event => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      page.classList.add('dragging')
    })
    page.addEventListener('dragleave', event => {
      if (!event.relatedTarget) page.classList.remove('dragging')
    })
    page.addEventListener('drop', event => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      page.classList.remove('dragging')
      const [dropped] = event.dataTransfer?.files ?? []
      if (!dropped) return
      byId('tab-picture', HTMLElement).click()
      this.#give(dropped)
    })
    this.#preview.addEventListener('error', () => {
      this.#preview.hidden = true
    })
    document.querySelector('.samples')?.append(
      ...SAMPLES.map(name => {
        const address = new URL(`samples/${name}.png`, document.baseURI).href
        const image = element('img', { src: address, alt: name, width: '64', height: '64' })
        const button = element('button', { type: 'button' }, image)
        button.addEventListener('click', () => void this.#giveSample(address, name))
        return element('li', {}, button)
      }),
    )
  }

  async #giveSample(address: string, name: string): Promise<void> {
    try {
      const response = await fetch(address)
      if (!response.ok) throw new Error(`the server says ${response.status}`)
      this.#give(new File([await response.blob()], name))
    } catch (error) {
      this.#results.fail(`The sample could not be fetched: ${(error as Error).message}`)
    }
  }

  #give(image: File): void {
    URL.revokeObjectURL(this.#preview.src)
    if (image.type === SVG) this.#refuse(image)
    else {
      this.#preview.src = URL.createObjectURL(image)
      this.#preview.hidden = false
      this.#preview.alt = `The picture: ${image.name}`
      this.#ask(image)
    }
    this.#results.reveal()
  }

  #refuse(image: File): void {
    this.#stop?.()
    this.#image = undefined
    this.#preview.hidden = true
    this.#results.clear()
    this.#results.fail(
      `${image.name} is an SVG, which has no pixels to read: give a picture that has, such as a PNG or a JPEG.`,
    )
  }
}

const carriesFiles = ({ dataTransfer }: DragEvent): boolean => dataTransfer?.types.includes('Files') ?? false

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)
