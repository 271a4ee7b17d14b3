/** Tabs as WAI-ARIA has them: arrow keys move between them, Tab goes on into the panel. The address keeps which is open. */

/** Shows the tab that the address names, else the first. `opened` is told the panel's id. */
export function tabs(list: HTMLElement, opened: (panel: string) => void): void {
  const all = [...list.querySelectorAll<HTMLElement>('[role=tab]')]
  const panelOf = (tab: HTMLElement): string => tab.getAttribute('aria-controls') as string

  const open = (tab: HTMLElement): void => {
    for (const other of all) {
      const isOpen = other === tab
      other.setAttribute('aria-selected', String(isOpen))
      other.tabIndex = isOpen ? 0 : -1
      document.getElementById(panelOf(other))?.toggleAttribute('hidden', !isOpen)
    }
    opened(panelOf(tab))
  }

  for (const [i, tab] of all.entries()) {
    tab.addEventListener('click', () => {
      history.replaceState(null, '', `#${panelOf(tab)}`)
      open(tab)
    })
    tab.addEventListener('keydown', event => {
      const steps: Record<string, number> = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: all.length - 1 }
      const to = steps[event.key]
      if (to === undefined) return
      event.preventDefault()
      const next = all[(to + all.length) % all.length] as HTMLElement
      next.focus()
      next.click()
    })
  }
  open(all.find(tab => location.hash === `#${panelOf(tab)}`) ?? (all[0] as HTMLElement))
}
