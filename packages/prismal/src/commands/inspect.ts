/** `prismal inspect DIR`: what a model folder holds. */
import { inspectModel, type ModelSummary } from '@prismal/models'
import { openFiles } from '@prismal/models/node'
import type { Command } from 'commander'
import { bytes, table } from './units.js'

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('what a model folder holds')
    .argument('<dir>', 'a model folder or URL')
    .option('--tensors', 'list every tensor')
    .option('--json', 'print one JSON object')
    .action(inspect)
}

async function inspect(location: string, flags: { tensors?: true; json?: true }): Promise<void> {
  const files = await openFiles(location)
  const summary = await inspectModel(files).finally(() => files.close?.())
  if (flags.json) console.log(JSON.stringify(summary))
  else print(summary, flags.tensors === true)
}

function print(summary: ModelSummary, listsTensors: boolean): void {
  const { shape, parameters, tensors } = summary
  const rows = [
    ['family', summary.family],
    ['layers', String(shape.layers)],
    ['width', `${shape.width} (${shape.heads} heads × ${shape.headWidth}, inner ${shape.inner})`],
    ['positions', String(shape.positions)],
    ['causal', shape.causal ? 'yes' : 'no'],
    ['parameters', `${(parameters / 1e6).toFixed(2)} M`],
    ['stored', `${bytes(summary.storedBytes)} as ${summary.dtypes.join(', ')} in ${summary.files.join(', ')}`],
    [
      'in memory',
      summary.precision === 'f32'
        ? `${bytes(parameters * 4)} as f32`
        : `${bytes(summary.storedBytes)} as ${summary.precision}`,
    ],
    [
      'labels',
      summary.labels
        ? `${summary.labels.length}: ${summary.labels.slice(0, 10).join(', ')}${summary.labels.length > 10 ? ', …' : ''}`
        : 'none',
    ],
    ['beside it', summary.beside.join(', ') || 'nothing'],
  ]
  console.log(rows.map(([name, value]) => `${(name as string).padEnd(12)}${value}`).join('\n'))
  if (listsTensors) console.log(`\n${table(tensors.map(t => [t.name, t.dtype, `[${t.shape.join(',')}]`]))}`)
}
