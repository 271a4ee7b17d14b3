/** Numbers as people read them. */
export { duration } from '@prismal/distribute'

/** 1234567 → `1.23 MB` (powers of 1000). */
export const bytes = (n: number): string => scaled(n, ['B', 'kB', 'MB', 'GB', 'TB'])
/** 35130000000 → `35.13 GF`. */
export const flops = (n: number): string => scaled(n, ['F', 'kF', 'MF', 'GF', 'TF', 'PF'])
export const percent = (share: number): string => `${(100 * share).toFixed(2)} %`

function scaled(n: number, units: readonly string[]): string {
  let value = n
  let unit = 0
  while (Math.abs(value) >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  const digits = unit === 0 ? 0 : Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 2 : 2
  return `${value.toFixed(digits)} ${units[unit]}`
}

/** Columns aligned: the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map(r => (r[c] ?? '').length)))
  return rows
    .map(r =>
      r.map((cell, c) => (c === 0 ? cell.padEnd(widths[c] as number) : cell.padStart(widths[c] as number))).join('  '),
    )
    .map(line => line.trimEnd())
    .join('\n')
}
