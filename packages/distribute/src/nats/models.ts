/**
 * Models in the server's Object Store: for each a manifest, and its files in parts.
 *
 *     prismal-models/DIGEST/manifest        { manifest: JSON as text, mac? }
 *     prismal-models/DIGEST/FILE/PART       at most 16 MiB
 *
 * The manifest names each part's SHA-256. With a secret it carries a MAC, so that the server cannot exchange anything;
 * without one the model's own digest, which its loader compares, covers config and the ends of every tensor.
 */
import type { NatsConnection } from '@nats-io/nats-core'
import { ModelError, type ModelFiles } from '@prismal/models'
import { fromBase64url, hex } from '../bytes-as-text.js'
import type { Secret } from '../secret.js'
import { authenticator, utf8 } from './keys.js'
import { openStore, readObject } from './store.js'

const BUCKET = 'prismal-models'
const PART_BYTES = 16 << 20
const MOST_FILES = 256
const MOST_BYTES = 256 * 2 ** 30
const MANIFEST_BYTES = 1 << 20
/** A plain name: no folder, nothing hidden, nothing that a file system understands otherwise. */
const FILE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
/** What of a folder belongs to its model. */
const OF_MODEL =
  /^((config|generation_config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|vocab|added_tokens)\.json|merges\.txt|vocab\.txt|model[\w.-]*\.(safetensors|safetensors\.index\.json))$/

interface StoredFile {
  readonly name: string
  readonly bytes: number
  /** SHA-256 of each part. */
  readonly parts: readonly string[]
}
interface Manifest {
  readonly version: 1
  /** As `Model.digest`. */
  readonly digest: string
  readonly partBytes: number
  readonly files: readonly StoredFile[]
}

export interface ModelStoreOptions {
  /** Signs the manifest, or demands that it is signed. */
  readonly secret?: Secret
  /** Told after each part. */
  readonly progress?: (progress: {
    readonly doneBytes: number
    readonly totalBytes: number
    readonly file: string
  }) => void
  readonly signal?: AbortSignal
}

/** Where files are put together, part by part. */
export interface ModelFolder {
  /** Bytes [from, from + length) of a file that an earlier attempt left, or undefined. */
  read(file: string, from: number, length: number): Promise<Uint8Array | undefined>
  write(file: string, from: number, bytes: Uint8Array): Promise<void>
  /** Cuts a file to its length: all of it is there. */
  end(file: string, bytes: number): Promise<void>
}

/**
 * Puts a model's files into the store under its digest (`Model.digest`, which the caller knows from loading it). What is
 * there already is not sent again. Gives the bytes that the model has, and those that were sent.
 */
export async function pushModel(
  nc: NatsConnection,
  files: ModelFiles,
  digest: string,
  { secret, progress = () => {}, signal }: ModelStoreOptions = {},
): Promise<{ readonly bytes: number; readonly sentBytes: number }> {
  checkDigest(digest)
  const names = ((await files.list?.()) ?? []).filter(name => OF_MODEL.test(name)).sort()
  if (!names.includes('config.json'))
    throw new ModelError(`${files.location} has no config.json: it is not a model folder`)
  const sizes = await Promise.all(names.map(async name => (await files.size(name)) ?? 0))
  const totalBytes = sizes.reduce((sum, n) => sum + n, 0)
  const store = await openStore(nc, BUCKET)
  const stored: StoredFile[] = []
  let doneBytes = 0
  let sentBytes = 0
  for (const [i, name] of names.entries()) {
    const bytes = sizes[i] as number
    const parts: string[] = []
    for (let from = 0; from < bytes; from += PART_BYTES) {
      signal?.throwIfAborted()
      const part = await files.range(name, from, Math.min(bytes, from + PART_BYTES))
      const object = `${digest}/${name}/${parts.length}`
      const sha256 = await sha256Of(part)
      const there = await store.info(object)
      if (!there || there.deleted || hexOf(there.digest) !== sha256 || there.size !== part.length) {
        await store.putBlob({ name: object }, part)
        sentBytes += part.length
      }
      parts.push(sha256)
      doneBytes += part.length
      progress({ doneBytes, totalBytes, file: name })
    }
    stored.push({ name, bytes, parts })
  }
  const manifest = JSON.stringify({ version: 1, digest, partBytes: PART_BYTES, files: stored } satisfies Manifest)
  const mac = await authenticator(secret, 'model', digest).sign(utf8(manifest))
  await store.putBlob({ name: `${digest}/manifest` }, utf8(JSON.stringify({ manifest, mac })))
  await files.close?.()
  return { bytes: totalBytes, sentBytes }
}

/**
 * Brings a model's files from the store into a folder; parts that are there already and right are not asked for again.
 * Every part is compared with the manifest; comparing `Model.digest` after loading is the caller's. Throws
 * {@link ModelError} where the model is not there or anything is not as the manifest says, or the manifest not as the secret.
 */
export async function fetchModel(
  nc: NatsConnection,
  digest: string,
  folder: ModelFolder,
  { secret, progress = () => {}, signal }: ModelStoreOptions = {},
): Promise<void> {
  checkDigest(digest)
  const store = await openStore(nc, BUCKET)
  const { files, partBytes } = await readManifest(
    await readObject(store, `${digest}/manifest`, MANIFEST_BYTES),
    digest,
    secret,
  )
  const totalBytes = files.reduce((sum, f) => sum + f.bytes, 0)
  let doneBytes = 0
  for (const { name, bytes, parts } of files) {
    if (bytes === 0) await folder.write(name, 0, new Uint8Array(0))
    for (const [i, sha256] of parts.entries()) {
      signal?.throwIfAborted()
      const from = i * partBytes
      const length = Math.min(bytes - from, partBytes)
      const there = await folder.read(name, from, length)
      if (!there || (await sha256Of(there)) !== sha256) {
        const part = await readObject(store, `${digest}/${name}/${i}`, partBytes)
        if (part?.length !== length || (await sha256Of(part)) !== sha256)
          throw new ModelError(
            `part ${i} of ${name} in the server's store is ${part ? 'not what the manifest says' : 'missing'}: push the model again`,
          )
        await folder.write(name, from, part)
      }
      doneBytes += length
      progress({ doneBytes, totalBytes, file: name })
    }
    await folder.end(name, bytes)
  }
}

async function readManifest(
  object: Uint8Array | undefined,
  digest: string,
  secret: Secret | undefined,
): Promise<Manifest> {
  if (!object) throw new ModelError(`the server's store has no model sha256 ${digest}: \`prismal push\` puts one there`)
  const refuse = (why: string): never => {
    throw new ModelError(`the manifest of sha256 ${digest.slice(0, 8)}… in the server's store ${why}`)
  }
  let text = ''
  let mac: string | undefined
  let manifest: Manifest
  try {
    ;({ manifest: text, mac } = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(object)))
    manifest = JSON.parse(text) as Manifest
  } catch {
    return refuse('is damaged')
  }
  const lie = await authenticator(secret, 'model', digest).whyNot(utf8(text), typeof mac === 'string' ? mac : undefined)
  if (lie !== undefined) refuse(`is not believed: ${lie}`)
  const { version, partBytes, files } = manifest ?? {}
  if (version !== 1) refuse(`is of version ${JSON.stringify(version)}, this side reads 1`)
  if (manifest.digest !== digest) refuse('is of another model')
  if (!isCount(partBytes) || partBytes < 1 || partBytes > PART_BYTES) refuse(`has parts of ${partBytes} bytes`)
  if (!Array.isArray(files) || files.length > MOST_FILES) refuse('names no files')
  let bytes = 0
  for (const file of files) {
    const name: unknown = file?.name
    if (typeof name !== 'string' || !FILE.test(name)) refuse(`names a file ${JSON.stringify(name)}`)
    const { parts } = file
    const isWhole =
      isCount(file.bytes) &&
      Array.isArray(parts) &&
      parts.length === Math.ceil(file.bytes / partBytes) &&
      parts.every(sha256 => /^[0-9a-f]{64}$/.test(sha256))
    if (!isWhole) refuse(`tells nothing usable of ${name}`)
    bytes += file.bytes
  }
  if (new Set(files.map(f => f.name)).size !== files.length) refuse('names a file twice')
  if (bytes > MOST_BYTES) refuse(`tells of ${bytes} bytes, more than ${MOST_BYTES}`)
  return manifest
}

const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0

/** Throws {@link ModelError} for what is no model's digest, and might lead anywhere as a name of a folder. */
export function checkDigest(digest: string): void {
  if (!/^[0-9a-f]{64}$/.test(digest)) throw new ModelError(`"${digest}" is not a model's digest: 64 hexadecimal digits`)
}

const sha256Of = async (bytes: Uint8Array): Promise<string> =>
  hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)))

/** `SHA-256=base64url`, as the store has it. */
function hexOf(digest: string): string | undefined {
  const [, letters] = /^SHA-256=([\w-]+)=*$/.exec(digest) ?? []
  const bytes = letters === undefined ? undefined : fromBase64url(letters)
  return bytes && hex(bytes)
}
