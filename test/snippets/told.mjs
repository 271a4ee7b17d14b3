/** What a snippet's comment says it gives, against what it gives. */

/** The last element of an array, or a property of an object, that may have more than is told. */
export const MORE = Symbol('…')

/** Throws where `found` is not what was `said`: numbers are rounded to the decimals that are written. */
export function told(found, said) {
  if (!fits(found, said)) throw new Error(`it gives ${JSON.stringify(found)}, the comment says ${JSON.stringify(said)}`)
}

function fits(found, said) {
  if (typeof said === 'number') {
    const [, decimals = ''] = String(said).split('.')
    return typeof found === 'number' && Math.abs(found - said) <= 0.5 * 10 ** -decimals.length + 1e-12
  }
  if (typeof said !== 'object' || said === null) return Object.is(found, said)
  if (typeof found !== 'object' || found === null) return false
  if (Array.isArray(said)) {
    const values = said.filter(value => value !== MORE)
    const isLong = said.length === values.length ? found.length === values.length : found.length > values.length
    return isLong && values.every((value, i) => fits(found[i], value))
  }
  const { MORE: more, ...values } = said
  const names = Object.keys(values)
  return (
    (more !== undefined || Object.keys(found).length === names.length) && names.every(n => fits(found[n], values[n]))
  )
}
