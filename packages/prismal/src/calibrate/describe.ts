/** Ways of sharing as people read them. */
import type { SharingOptions } from '@prismal/distribute'

/** `16 means a device, int8, sink 1`, `every row, int8`, `nothing sent`. */
export function describeSharing({ strategy = 'means', segments, ...rest }: SharingOptions): string {
  const { point = 'normed', wire = 'f32', sink, ...others } = rest
  const named = (of: object): string[] =>
    Object.entries(of)
      .filter(([, value]) => value !== undefined && value !== 0)
      .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  if (strategy === 'isolated') return ['nothing sent', ...named({ ...others, bounds: undefined })].join(', ')
  if (strategy === 'whole') return 'whole sequences'
  const means = `${segments ?? 'some'} ${Number(segments) === 1 ? 'mean' : 'means'} a device`
  const what = strategy === 'full' ? 'every row' : `${means}${point === 'input' ? ' of the block input' : ''}`
  return [what, wire, ...named({ sink, ...others })].join(', ')
}
