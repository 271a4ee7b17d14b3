/** How long a person waits for a first answer, from an empty folder on. */
import { expect } from 'vitest'
import type { Runtime } from './runtimes.js'

export const FIRST_ANSWER_S = 60

/** Says how long it took, and fails where that was too long. */
export function expectFirstAnswer(runtime: Runtime, installSeconds: number, seconds: number): void {
  const whole = installSeconds + seconds
  console.log(`${runtime}: first answer after ${whole.toFixed(1)} s, ${installSeconds.toFixed(1)} s of them npm's`)
  expect(whole).toBeLessThan(FIRST_ANSWER_S)
}
