/** What a comparison has to say: its verdict in a sentence, and bars for bytes, time and operations of each device. */
import { barTable } from './bars.js'
import { element } from './dom.js'
import { devicesInWords, milliseconds, percent, points, whole } from './format.js'
import type { Comparison } from './studio/messages.js'

/** `Three devices answer the same: …`. `likeliest` is what was compared, as `answer`. */
export function verdict({ sharing, devices, isSame, largestDifference }: Comparison, likeliest: string): string {
  const which = isSame ? `the same ${likeliest} as one` : `another ${likeliest} than one`
  const sum = (bytes: readonly number[]): number => bytes.reduce((a, b) => a + b, 0)
  const share = sum(devices.map(d => d.bytesReceived)) / sum(devices.map(d => d.bytesOfFull))
  const price = sharing.strategy === 'means' ? `, for ${percent(share)} of the bytes of exact sharing` : ''
  return `${devicesInWords(devices.length)} give ${which}. No probability differs by more than ${points(largestDifference)}${price}.`
}

/** The charts. `isCausal`: whether rows only hear of earlier ones. */
export function charts(comparison: Comparison, isCausal: boolean): HTMLElement[] {
  const { alone, devices, deviations } = comparison
  const names = devices.map((_, p) => `Device ${p + 1}`)
  const mostBytes = Math.max(1, ...devices.map(d => d.bytesOfFull))
  const mostTime = Math.max(alone.milliseconds, ...devices.map(d => d.milliseconds))
  const all = Math.max(...devices.map(d => d.bytesOfFull))
  const one = { name: 'One device', way: 'alone' } as const
  return [
    barTable(
      'Received',
      'bytes',
      devices.map((d, p) => ({
        ...{ name: names[p] as string, way: 'shared', figure: whole(d.bytesReceived) },
        share: d.bytesReceived / mostBytes,
      })),
      [
        `Every row, as exact sharing sends them, would be ${whole(all)} bytes: a full bar.`,
        toldInWords(comparison),
        isCausal ? 'A language model only looks back: nothing goes to an earlier device.' : '',
        devices.every(d => d.bytesReceived === d.bytesPlanned) ? 'Counted, and just what the plan foretold.' : '',
      ]
        .filter(Boolean)
        .join(' '),
    ),
    barTable(
      'Time',
      'ms',
      [
        { ...one, share: alone.milliseconds / mostTime, figure: milliseconds(alone.milliseconds) },
        ...devices.map((d, p) => ({
          ...{ name: names[p] as string, way: 'shared' as const, figure: milliseconds(d.milliseconds) },
          share: d.milliseconds / mostTime,
        })),
      ],
      [
        `All told the shared answer took ${milliseconds(comparison.milliseconds)} ms.`,
        'Devices wait for each other in every layer; of models as small as these that is much of the time.',
        coresInWords(devices.length),
      ]
        .filter(Boolean)
        .join(' '),
    ),
    barTable('Operations', 'million', [
      { ...one, share: 1, figure: whole(alone.flops / 1e6) },
      ...devices.map((d, p) => ({
        ...{ name: names[p] as string, way: 'shared' as const, figure: whole(d.flops / 1e6) },
        share: d.flops / alone.flops,
      })),
    ]),
    ...deviations.map(deviation => element('p', { class: 'note' }, `Not as planned: ${deviation}.`)),
  ]
}

function toldInWords({ sharing, rows, told, devices }: Comparison): string {
  if (sharing.strategy === 'isolated') return 'Here nothing is told at all.'
  if (sharing.strategy === 'full') return ''
  const own = devices.map(d => d.rows)
  return `Of ${rows} rows each device holds ${range(own)} and tells ${range(told)}, in 4 bits a value.`
}

function range(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  return least === most ? String(least) : `${least} to ${most}`
}

function coresInWords(devices: number): string {
  const cores = navigator.hardwareConcurrency
  if (!(cores < devices)) return ''
  return `This computer has ${cores} cores for ${devices} devices, so they take turns.`
}
