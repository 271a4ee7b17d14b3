/** Folders that tests write to. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, onTestFinished, TestRunner } from 'vitest'

/** A fresh folder, which goes when the test is over; outside of a test, when the file's or the block's tests are. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'prismal-'))
  const remove = (): void => rmSync(path, { recursive: true, force: true })
  if (TestRunner.getCurrentTest()) onTestFinished(remove)
  else afterAll(remove)
  return path
}
