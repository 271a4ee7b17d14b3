/** How likely the likeliest labels are, by one device and by several, as bars and figures. */
import { bar, columns } from './bars.js'
import { element } from './dom.js'
import { devicesInWords, percent } from './format.js'
import type { Label } from './studio/messages.js'

const LABELS_SHOWN = 5

/** The likeliest labels of one device, with both ways' probabilities; those of the shared way may be yet to come. */
export function labelTable(
  title: string,
  alone: readonly Label[],
  shared: readonly Label[] | undefined,
  devices: number,
): HTMLElement {
  const rows = alone.slice(0, LABELS_SHOWN).map(({ label, score }) => {
    const other = shared?.find(l => l.label === label)?.score
    return element(
      'tr',
      {},
      element('th', { scope: 'row', dir: 'auto' }, label),
      element('td', { class: 'track' }, bar(score, 'alone'), bar(other ?? 0, 'shared')),
      element('td', { class: 'figure' }, percent(score)),
      element('td', { class: 'figure' }, other === undefined ? '…' : percent(other)),
    )
  })
  const heads = [
    element('th', { scope: 'col', colspan: '2' }, title),
    element('th', { scope: 'col', class: 'figure alone' }, 'One device'),
    element('th', { scope: 'col', class: 'figure shared' }, devicesInWords(devices)),
  ]
  return element(
    'table',
    { class: 'bars answers' },
    columns(2),
    element('thead', {}, element('tr', {}, ...heads)),
    element('tbody', {}, ...rows),
  )
}
