/** Bars as tables: a row for each, with its name, its length and its figure. */
import { element } from './dom.js'

export interface Bar {
  readonly name: string
  /** 0…1 of the longest that there may be. */
  readonly share: number
  readonly figure: string
  /** Which of the page's two colours. */
  readonly way: 'alone' | 'shared'
}

/** A bar. Its length is set from a script, since the page's policy forbids style attributes. */
export function bar(share: number, way: 'alone' | 'shared'): HTMLElement {
  const drawn = element('div', { class: `bar ${way}` })
  drawn.style.setProperty('--share', String(Math.min(1, Math.max(0, share))))
  return drawn
}

/** A bar table's columns: names, bars, and so many of figures. */
export const columns = (figures: number): HTMLElement =>
  element(
    'colgroup',
    {},
    element('col', { class: 'name' }),
    element('col'),
    ...Array.from({ length: figures }, () => element('col', { class: 'figures' })),
  )

/** A table of bars under a title; `unit` heads its figures and `note` says what they are. */
export function barTable(title: string, unit: string, bars: readonly Bar[], note?: string): HTMLElement {
  const head = element(
    'thead',
    {},
    element(
      'tr',
      {},
      element('th', { scope: 'col', colspan: '2' }, title),
      element('th', { scope: 'col', class: 'figure' }, unit),
    ),
  )
  const rows = bars.map(({ name, share, figure, way }) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, name),
      element('td', { class: 'track' }, bar(share, way)),
      element('td', { class: 'figure' }, figure),
    ),
  )
  const table = element('table', { class: 'bars' }, columns(1), head, element('tbody', {}, ...rows))
  return element('div', { class: 'chart' }, table, ...(note ? [element('p', { class: 'note' }, note)] : []))
}
