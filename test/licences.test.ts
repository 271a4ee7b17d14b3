/** What comes with the packages of others: listed in docs/licences.md, and permissive. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { foreignPackages, licenceTable } from '../packaging/licences.js'
import { PACKAGES } from './packed/pack.js'

const PERMISSIVE = ['Apache-2.0', 'MIT', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'Zlib']
const foreign = foreignPackages(Object.values(PACKAGES))

it('is permissively licensed, unless users install it themselves', () => {
  expect(foreign.length).toBeGreaterThan(3)
  const others = foreign.filter(({ how, licence }) => how !== 'optional' && !PERMISSIVE.includes(licence))
  expect(others).toEqual([])
})

it('is listed in docs/licences.md', async () => {
  const [before, , after] = readFileSync('docs/licences.md', 'utf8').split(
    /(?<=<!-- licences -->\n)|(?=<!-- \/licences -->)/,
  )
  await expect(`${before}${licenceTable(foreign)}\n${after}`).toMatchFileSnapshot('../docs/licences.md')
})
