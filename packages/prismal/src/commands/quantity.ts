/** Quantities as people write them: `100Mbit`, `47GF`, `2GB`. */
import { InvalidArgumentError } from 'commander'

const PREFIXES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 }

/** Parses a number, a prefix and a unit that `suffix` allows, together above 0 and at least `least`. */
export const quantity =
  (suffix: RegExp, example: string, least = 0) =>
  (text: string): number => {
    const [, digits = '', prefix = '', rest = ''] = /^([\d.]+)\s*([kMGT]?)(.*)$/i.exec(text) ?? []
    const value = Number(digits) * (PREFIXES[prefix.toLowerCase()] as number)
    if (digits === '' || !(value > 0 && value >= least) || !suffix.test(rest))
      throw new InvalidArgumentError(`It is like ${example}.`)
    return value
  }
