/** The page: its two views, the controls they share, and the worker that computes for both. */
import { byId } from './dom.js'
import { PictureView } from './picture-view.js'
import { Results } from './results.js'
import { sharingForm } from './sharing-form.js'
import { Studio } from './studio/studio.js'
import { tabs } from './tabs.js'
import { TextView } from './text-view.js'

const places = { picture: byId('picture-results', HTMLElement), text: byId('text-results', HTMLElement) }
let opened: keyof typeof places = 'picture'

const sharing = sharingForm(() => views[opened].again())
const studio = new Studio()
const picture = new PictureView(studio, new Results(places.picture, 'Loading the model that knows pictures …'), sharing)
const text = new TextView(studio, new Results(places.text, 'Give it a beginning.'), sharing)
const views = { picture, text }

tabs(byId('tabs', HTMLElement), panel => {
  opened = panel as keyof typeof places
  for (const [name, place] of Object.entries(places)) place.hidden = name !== panel
  views[opened].again()
})
// What a person waits for before the first picture is answered.
picture.load(() => performance.mark('ready'))
