/** Figures and words as the page shows them. */

const WORDS = ['No device', 'One device', 'Two devices', 'Three devices', 'Four devices']

/** `Three devices`. */
export const devicesInWords = (count: number): string => WORDS[count] ?? `${count} devices`

export const whole = (value: number): string => Math.round(value).toLocaleString('en')
export const milliseconds = (value: number): string => (value < 100 ? value.toFixed(1) : whole(value))
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

/** A difference of probabilities in points: hundredths. */
export function points(difference: number): string {
  if (difference < 0.000_05) return 'less than 0.01 points'
  const value = 100 * difference
  return `${value < 1 ? value.toFixed(2) : value.toFixed(1)} points`
}
