/**
 * What prismal does, in one table a task: a picture classified, sentences ranked, a text continued; each on one device,
 * on two with the exact exchange, and on two with segment means.
 *
 *     npm run demo                       pictures that lie in examples/images
 *     npm run demo -- photo.jpg          a picture of one's own
 */
import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type PipelineOptions, pipeline, type Report, type Task } from 'prismal'
import { cluster, type SharingOptions, thread } from 'prismal/distribute'

const WAYS: readonly { readonly name: string; readonly sharing?: SharingOptions }[] = [
  { name: 'one device' },
  { name: 'two, exact exchange', sharing: { strategy: 'full' } },
  { name: 'two, segment means', sharing: { strategy: 'means', compressionRate: 5 } },
]

const SENTENCES = [
  'A man is playing a guitar on the street.',
  'The cat sleeps on the warm windowsill.',
  'Interest rates rose for the third time this year.',
  'A kitten is napping in the sun.',
]

interface Row {
  readonly way: string
  readonly answer: string
  /** What the answer is compared by: probabilities, a vector, or tokens. */
  readonly values: readonly number[]
  readonly report: Report
}

const pictures = process.argv.slice(2)
const folder = fileURLToPath(new URL('./images', import.meta.url))
const shown =
  pictures.length > 0
    ? pictures
    : readdirSync(folder)
        .filter(f => f.endsWith('.png'))
        .map(f => `${folder}/${f}`)

console.log(
  `Node ${process.versions.node}. Every way computes the same model; FLOPs and received bytes are a device's largest.`,
)

for (const picture of shown)
  await show(`image-classification · ${basename(picture)}`, 'image-classification', async options => {
    const classify = await pipeline('image-classification', undefined, options)
    const measured = await repeat(() => classify.withReport([picture], { topk: 10 }))
    await classify.dispose()
    const [labels = []] = measured.output
    const byName = [...labels].sort((a, b) => (a.label < b.label ? -1 : 1)).map(l => l.score)
    return { answer: `${labels[0]?.label} ${labels[0]?.score.toFixed(3)}`, values: byName, report: measured.report }
  })

await show(
  `feature-extraction · which sentence is nearest to "${SENTENCES[3]}"`,
  'feature-extraction',
  async options => {
    const embed = await pipeline('feature-extraction', undefined, options)
    const measured = await repeat(() => embed.withReport(SENTENCES, { pooling: 'mean', normalize: true }))
    await embed.dispose()
    const vectors = (measured.output as { tolist(): unknown }).tolist() as number[][]
    const last = vectors.at(-1) as number[]
    const ranked = SENTENCES.slice(0, -1)
      .map((text, i) => ({ text, cosine: dot(vectors[i] as number[], last) }))
      .sort((a, b) => b.cosine - a.cosine)
    const answer = ranked.map(r => `${r.text.split(' ').slice(0, 3).join(' ')}… ${r.cosine.toFixed(3)}`).join(', ')
    return { answer, values: vectors.flat(), report: measured.report }
  },
)

await show('text-generation · "And the LORD said unto the captain of the ship,"', 'text-generation', async options => {
  const generate = await pipeline('text-generation', undefined, options)
  const measured = await repeat(() =>
    generate.withReport('And the LORD said unto the captain of the ship,', {
      max_new_tokens: 20,
      repetition_penalty: 1.2,
      return_full_text: false,
    }),
  )
  await generate.dispose()
  const text = measured.output[0]?.generated_text ?? ''
  return {
    answer: JSON.stringify(text.trim()),
    values: [...text].map(c => c.codePointAt(0) as number),
    report: measured.report,
  }
})

/** Runs a task in every way and prints a row for each. */
async function show(
  title: string,
  task: Task,
  run: (options: PipelineOptions) => Promise<Omit<Row, 'way'>>,
): Promise<void> {
  const rows: Row[] = []
  for (const { name, sharing } of WAYS) {
    const devices = sharing && cluster(['local', thread()], sharing)
    rows.push({ way: name, ...(await run({ ...(devices && { devices }), warn: () => {} })) })
  }
  console.log(`\n${title}`)
  print([
    ['', 'time', 'FLOPs', 'received', 'difference', 'answer'],
    ...rows.map(row => [
      row.way,
      `${row.report.milliseconds.toFixed(1)} ms`,
      `${(largest(row.report, d => d.flops) / 1e6).toFixed(0)} MF`,
      `${(largest(row.report, d => d.bytesReceived) / 1e3).toFixed(1)} kB`,
      difference(task, row, rows[0] as Row),
      row.answer,
    ]),
  ])
}

/** The fastest of a few runs: the first ones also compile. */
async function repeat<T extends { readonly report: Report }>(run: () => Promise<T>): Promise<T> {
  let best = await run()
  for (let i = 0; i < 5; i++) {
    const next = await run()
    if (next.report.milliseconds < best.report.milliseconds) best = next
  }
  return best
}

function difference(task: Task, row: Row, alone: Row): string {
  if (row === alone) return ''
  if (task === 'text-generation') return row.answer === alone.answer ? 'same text' : 'other text'
  const most = Math.max(...row.values.map((v, i) => Math.abs(v - (alone.values[i] as number))))
  return most < 1e-6 ? '< 1e-6' : most.toFixed(4)
}

function largest(report: Report, of: (device: Report['devices'][number]) => number): number {
  return Math.max(...report.devices.map(of))
}
function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, v, i) => sum + v * (b[i] as number), 0)
}

function print(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] as readonly string[]).map((_, c) => Math.max(...rows.map(r => (r[c] as string).length)))
  const last = widths.length - 1
  for (const row of rows)
    console.log(
      `  ${row
        .map((cell, c) =>
          c === 0 || c === last ? cell.padEnd(widths[c] as number) : cell.padStart(widths[c] as number),
        )
        .join('   ')
        .trimEnd()}`,
    )
}
