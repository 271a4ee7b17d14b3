/** Whether one device and `full` predict what PyTorch does (weights-tools/python/reference_predictions.py), item by item. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { tableOf } from '../markdown.js'
import type { Finding } from './finding.js'
import type { Result } from './results.js'

/** A file of reference predictions, as far as it is read. */
export interface Reference {
  readonly model: { readonly sha256: string }
  readonly data: { readonly name: string }
  readonly versions: { readonly torch: string }
  /** Class numbers, and by how much the largest logit leads. */
  readonly columns: { readonly predicted: readonly number[]; readonly margin: readonly number[] }
  readonly note?: string
}

/** How a cell's predictions compare with a reference's. */
export interface Difference {
  readonly items: number
  readonly differing: number
  /** The largest lead of a logit, of PyTorch's, among items that differ: tiny where they differ by rounding. */
  readonly margin: number
}

/** Compares item by item; the reference may go on. */
export function differenceOf(predicted: readonly number[], { columns }: Reference): Difference {
  const differing = predicted.flatMap((p, i) => (p === columns.predicted[i] ? [] : [i]))
  return {
    items: predicted.length,
    differing: differing.length,
    margin: Math.max(0, ...differing.map(i => columns.margin[i] ?? Number.POSITIVE_INFINITY)),
  }
}

/** All references in a folder; none where there is no such folder. */
export function readReferences(folder: string): Reference[] {
  if (!existsSync(folder)) return []
  const files = readdirSync(folder).filter(name => name.endsWith('.json'))
  return files.map(name => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Reference)
}

/** How one device, or `full`, compares with a reference. */
export interface ReferenceRow extends Difference {
  /** What the reference says of itself. */
  readonly note?: string
  readonly torch: string
  /** P. */
  readonly devices: number
}

/** A row for one device and each `full` where the result's weights have a reference. */
export function referenceRows({ experiment, cells }: Result, references: readonly Reference[]): ReferenceRow[] {
  const weights = join(experiment.model, 'model.safetensors')
  if (experiment.isVariation || !existsSync(weights)) return []
  const digest = createHash('sha256').update(readFileSync(weights)).digest('hex')
  return references
    .filter(r => r.model.sha256 === digest)
    .flatMap(reference =>
      cells
        .filter(c => c.role.kind === 'full' || (c.role.kind === 'one' && c.cuts === experiment.devices[0]))
        .flatMap(({ cell: { columns, devices } }): ReferenceRow[] => {
          if (!columns.predicted) return []
          const { note, versions } = reference
          return [
            { ...differenceOf(columns.predicted, reference), devices, torch: versions.torch, ...(note && { note }) },
          ]
        }),
    )
}

export function referenceSection(findings: readonly Pick<Finding, 'about' | 'references'>[]): string {
  const all = findings.flatMap(({ about, references }) => references.map(r => ({ ...r, name: about.name })))
  if (all.length === 0) return 'No reference predictions were there.'
  const rows = all.map(({ name, note, devices, items, differing, margin }) => [
    `${name}${note ? ` (${note})` : ''}`,
    devices === 1 ? 'one device' : `full, P=${devices}`,
    ...[String(items), String(differing), `${((100 * differing) / items).toFixed(3)} %`],
    differing > 0 ? margin.toExponential(1) : '',
  ])
  const versions = [...new Set(all.map(r => r.torch))].join(', ')
  return [
    `PyTorch ${versions}, float32. *Lead*: by how much the likeliest class leads there, at most, where the answers differ.`,
    tableOf(['task', '', 'items', 'differ', '', 'lead'], rows),
  ].join('\n\n')
}
