/** The controls for how devices share. */
import { byId, element } from './dom.js'
import type { Sharing } from './studio/messages.js'

const DEVICES = [2, 3, 4] as const
const STRATEGIES = [
  {
    value: 'means',
    name: 'Segment means',
    note: 'Rows that are alike are told as their mean: close to exact, for few bytes.',
  },
  { value: 'full', name: 'Every row', note: 'Exact sharing: every device hears of every row.' },
  { value: 'isolated', name: 'Nothing', note: 'No device hears of another: what telling is worth.' },
] as const
const RATES = [1, 2, 3, 4, 6, 8, 12, 16] as const

/** Whether devices share alike. */
export const isSameSharing = (a: Sharing, b: Sharing): boolean =>
  a.devices === b.devices && a.strategy === b.strategy && a.compressionRate === b.compressionRate

/** Shows the controls. `changed` is called when one has been set. Returns how devices share as the controls say. */
export function sharingForm(changed: () => void): () => Sharing {
  const form = byId('sharing', HTMLFormElement)
  const rate = byId('rate', HTMLInputElement)
  const told = byId('rate-told', HTMLOutputElement)
  const note = byId('rate-note', HTMLElement)
  byId('devices', HTMLElement).append(
    ...choices(
      'devices',
      DEVICES.map(n => [String(n), String(n)]),
    ),
  )
  byId('strategies', HTMLElement).append(
    ...choices(
      'strategy',
      STRATEGIES.map(s => [s.value, s.name]),
    ),
  )
  Object.assign(rate, { min: '0', max: String(RATES.length - 1), step: '1', value: '1' })

  const sharing = (): Sharing => {
    const data = new FormData(form)
    return {
      devices: Number(data.get('devices')),
      strategy: data.get('strategy') as Sharing['strategy'],
      compressionRate: RATES[Number(rate.value)] as number,
    }
  }
  const show = (): void => {
    const { strategy, compressionRate } = sharing()
    told.value = String(compressionRate)
    rate.setAttribute('aria-valuetext', `${compressionRate} ${compressionRate === 1 ? 'row' : 'rows'} for each mean`)
    rate.disabled = strategy !== 'means'
    note.textContent = STRATEGIES.find(s => s.value === strategy)?.note ?? ''
  }

  form.addEventListener('submit', event => event.preventDefault())
  form.addEventListener('input', show)
  form.addEventListener('change', changed)
  show()
  return sharing
}

/** Radio buttons, the first of which is chosen. */
function choices(name: string, values: readonly (readonly [value: string, shown: string])[]): HTMLElement[] {
  return values.map(([value, shown], i) =>
    element(
      'label',
      {},
      element('input', { type: 'radio', name, value, ...(i === 0 && { checked: '' }) }),
      element('span', {}, shown),
    ),
  )
}
