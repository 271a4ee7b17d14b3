/** Whether the letters, one byte each, stand in the bytes at the offset. */
export function startsWith(bytes: Uint8Array, letters: string, offset = 0): boolean {
  return Array.from(letters).every((letter, i) => bytes[offset + i] === letter.charCodeAt(0))
}
