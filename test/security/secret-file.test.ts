/** `prismal secret` and the files that it writes: who may read them, and what is said where something is wrong. */
import { chmodSync, closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HandshakeError, readSecretFile } from 'prismal/distribute'
import { describe, expect, test } from 'vitest'
import { CLI, type Ended, start } from '../prismal-command.js'
import { temporaryFolder } from '../temporary-folder.js'

const SECRET = /prismal-secret-1\.[\w-]{48}/
const folder = temporaryFolder()

/** Runs `prismal …`; standard output goes to the file where one is given. */
const prismal = (args: readonly string[], stdout?: number): Promise<Ended> =>
  start(process.execPath, [CLI, ...args], { stdout: stdout ?? 'pipe' }).ended

const file = (name: string, text: string, mode = 0o600): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}
/** What reading a file says, which must not be what it holds. */
const refusal = async (path: string): Promise<string> => {
  const error = await readSecretFile(path).then(
    () => new Error('it was read'),
    (error: Error) => error,
  )
  expect(error).toBeInstanceOf(HandshakeError)
  expect(error.message).not.toMatch(SECRET)
  return error.message
}
const mode = (path: string): number => statSync(path).mode & 0o777

describe('prismal secret', () => {
  test('prints another one each time', async () => {
    const [a, b] = [await prismal(['secret']), await prismal(['secret'])]
    expect(a).toEqual({ code: 0, signal: null, out: expect.stringMatching(SECRET), err: '' })
    expect(a.out).not.toBe(b.out)
  })

  test('writes a file that its owner alone can read, and leaves one that is there as it is', async () => {
    const path = join(folder, 'made')
    const { code, out, err } = await prismal(['secret', '--out', path])
    expect({ code, out }).toEqual({ code: 0, out: '' })
    expect(err).not.toMatch(SECRET)
    expect(mode(path)).toBe(0o600)
    const text = readFileSync(path, 'utf8')
    expect((await readSecretFile(path)).reveal()).toBe(text.trim())
    const again = await prismal(['secret', '--out', path])
    expect(again).toEqual({ code: 1, signal: null, out: '', err: expect.stringContaining('exists already') })
    expect(readFileSync(path, 'utf8')).toBe(text)
  })

  test('closes to others the file that a shell sends it to', async () => {
    const path = file('redirected', '', 0o644)
    const out = openSync(path, 'w')
    await prismal(['secret'], out)
    closeSync(out)
    expect(mode(path)).toBe(0o600)
    expect((await readSecretFile(path)).reveal()).toMatch(SECRET)
  })

  test('is not taken from a command line, nor repeated', async () => {
    const { out } = await prismal(['secret'])
    const text = out.trim()
    for (const args of [
      ['secret', text],
      ['secret', `--from=${text}`],
      ['run', 'image-classification', 'examples/images/cat.png', `--secret=${text}`],
    ]) {
      const { code, out, err } = await prismal(args)
      expect(code, args[1]).toBe(2)
      expect(out + err).not.toMatch(SECRET)
    }
    expect(await refusal(text)).toContain('a secret was given where the name of its file belongs')
  })
})

describe('files with secrets', () => {
  test('that others can read are refused, and what to do is said', async () => {
    const { out } = await prismal(['secret'])
    for (const permissions of [0o640, 0o604, 0o620, 0o602, 0o644]) {
      const path = file('open', out, permissions)
      expect(await refusal(path)).toContain(`(mode ${permissions.toString(8)}): \`chmod 600 ${path}\``)
    }
    for (const permissions of [0o600, 0o400]) await readSecretFile(file('closed', out, permissions))
  })

  test('that are missing, empty, folders, too long or something else are refused by name', async () => {
    const { out } = await prismal(['secret'])
    const none = join(folder, 'none')
    expect(await refusal(none)).toBe(`${none} cannot be read (ENOENT): \`prismal secret --out ${none}\` makes one`)
    expect(await refusal(file('empty', '\n'))).toContain('empty is empty')
    expect(await refusal(folder)).toContain('is a folder')
    expect(await refusal(file('long', out.repeat(20)))).toContain('more than 1024 bytes')
    expect(await refusal(file('typed', 'hunter2'))).toContain('typed: a secret begins with')
    expect(await refusal(file('cut', out.slice(0, 40)))).toContain('cut: a secret has 48 letters')
  })
})
