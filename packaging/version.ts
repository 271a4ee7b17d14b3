/**
 * `npm run release:version`: raises the version of all packages as the changesets say, and writes what they tell into
 * CHANGELOG.md, below what stands there as unreleased; examples ask for the new version.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'

const told = readdirSync('.changeset')
  .filter(name => name.endsWith('.md') && name !== 'README.md')
  .map(name =>
    readFileSync(`.changeset/${name}`, 'utf8')
      .replace(/^---\n.*?\n---\n/s, '')
      .trim(),
  )
if (told.length === 0) throw new Error('there is no changeset: npm run changeset writes one')

execFileSync('node_modules/.bin/changeset', ['version'], { stdio: 'inherit' })
const { version } = JSON.parse(readFileSync('packages/prismal/package.json', 'utf8')) as { version: string }
const log = readFileSync('CHANGELOG.md', 'utf8')
const [head = '', unreleased = '', ...released] = log.split(/(?=^## )/m)
if (!unreleased.startsWith('## Unreleased')) throw new Error('CHANGELOG.md does not start with what is unreleased')
const lines = told.map(text => `- ${text.replace(/\n/g, '\n  ')}`).join('\n')
const kept = unreleased.replace('## Unreleased', `## ${version}`).trimEnd()
writeFileSync('CHANGELOG.md', [head, '## Unreleased\n\n', `${kept}\n${lines}\n\n`, ...released].join(''))
// Examples ask for the packages as a reader would install them.
const ours = /^(prismal|@prismal\/[\w-]+)$/
for (const name of readdirSync('examples')) {
  const file = `examples/${name}/package.json`
  if (!existsSync(file)) continue
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as { dependencies?: Record<string, string> }
  for (const dependency of Object.keys(manifest.dependencies ?? {}).filter(d => ours.test(d)))
    (manifest.dependencies as Record<string, string>)[dependency] = version
  writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`)
}
// The lock file names the workspaces' versions.
execFileSync('npm', ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund'], {
  stdio: 'inherit',
})
