/** Bytes as text: hexadecimal, and base64url without padding. */

export const hex = (bytes: Uint8Array): string => [...bytes].map(b => b.toString(16).padStart(2, '0')).join('')

/** 16 random bytes as hexadecimal: an identity, or a number that is used once. */
export const randomId = (): string => hex(crypto.getRandomValues(new Uint8Array(16)))

/** Of few bytes: they become arguments of a call. */
export const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')

/** The bytes; undefined where the text has other letters, or a number of them that bytes never have. */
export function fromBase64url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\w-]*$/.test(text) || text.length % 4 === 1) return undefined
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), letter => letter.charCodeAt(0))
}
