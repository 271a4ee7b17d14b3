/** Files that hold a secret: for their owner's eyes only. Node. */
import type { FileHandle } from 'node:fs/promises'
import { HandshakeError, Secret } from '@prismal/distribute'

/** Far more than a secret has, far less than would hurt. */
const MOST_BYTES = 1024
/** Permissions of everybody but the owner. */
const OTHERS = 0o077

/**
 * Reads what `prismal secret --out FILE` wrote. Throws `HandshakeError`, which names the file and says what to do, where it is missing, empty,
 * readable by others than its owner, or holds something else than a secret; never what it holds.
 */
export async function readSecretFile(path: string): Promise<Secret> {
  if (path.trim().startsWith('prismal-secret-'))
    throw new HandshakeError(
      'a secret was given where the name of its file belongs: everybody on the machine sees command lines, so make a new one ' +
        '(`prismal secret --out FILE`)',
    )
  const file = await filesFor(path)
    .open(path, 'r')
    .catch(error => {
      throw new HandshakeError(`${path} cannot be read (${codeOf(error)}): \`prismal secret --out ${path}\` makes one`)
    })
  try {
    await checkPermissions(path, file)
    const text = await readShort(path, file)
    if (text.trim() === '') throw new HandshakeError(`${path} is empty: \`prismal secret > ${path}\` fills it`)
    return Secret.parse(text)
  } catch (error) {
    if (error instanceof HandshakeError)
      throw error.message.startsWith(path) ? error : new HandshakeError(`${path}: ${error.message}`)
    throw new HandshakeError(`${path} cannot be read (${codeOf(error)})`)
  } finally {
    await file.close()
  }
}

/** Of the file that is open, not of whatever has its name by now. */
async function checkPermissions(path: string, file: FileHandle): Promise<void> {
  const stat = await file.stat()
  if (stat.isDirectory()) throw new HandshakeError(`${path} is a folder: name the file that holds the secret`)
  // Windows keeps permissions elsewhere, and says 666 of every file. A pipe is its two ends' alone.
  if (process.platform === 'win32' || !stat.isFile()) return
  if (stat.mode & OTHERS)
    throw new HandshakeError(
      `${path} can be read or written by others than its owner (mode ${(stat.mode & 0o777).toString(8)}): ` +
        `\`chmod 600 ${path}\`, and make a new secret if others may have read it`,
    )
}

async function readShort(path: string, file: FileHandle): Promise<string> {
  const bytes = Buffer.alloc(MOST_BYTES + 1)
  let length = 0
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  if (length > MOST_BYTES) throw new HandshakeError(`${path} has more than ${MOST_BYTES} bytes: it holds no secret`)
  return bytes.toString('utf8', 0, length)
}

/** Writes a secret to a file that its owner alone may read. Throws `HandshakeError` where there is one already, or it cannot. */
export async function writeSecretFile(path: string, secret: Secret): Promise<void> {
  const file = await filesFor(path)
    .open(path, 'wx', 0o600)
    .catch(error => {
      throw new HandshakeError(
        codeOf(error) === 'EEXIST'
          ? `${path} exists already, and is left as it is: name another file`
          : `${path} cannot be written (${codeOf(error)})`,
      )
    })
  try {
    await file.writeFile(`${secret.reveal()}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
}

// Asked for at run time: an import would break a browser's bundle.
function filesFor(path: string) {
  const files = globalThis.process?.getBuiltinModule?.('node:fs/promises')
  if (!files) throw new HandshakeError(`${path} cannot be read or written: this runtime has no files`)
  return files
}

const codeOf = (error: unknown): string => String((error as NodeJS.ErrnoException).code ?? error)
