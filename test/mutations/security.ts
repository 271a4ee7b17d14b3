/** Ways to break what protects a connection: each check is taken out once. */
import type { Mutation } from './mutations.js'

const SOURCE = 'packages/distribute/src'
const HANDSHAKE = 'test/security/handshake.test.ts'
const PACKETS = 'test/security/packets.test.ts'
const SOCKETS = 'test/security/web-socket.test.ts'
const FILES = 'test/security/secret-file.test.ts'
const SECRET = `${SOURCE}/secret.test.ts`
const SEALING = `${SOURCE}/aes-gcm.test.ts`
const EXAMPLE = `${SOURCE}/key-schedule.test.ts`

type Edit = readonly [file: string, find: string, replace: string]
const inDistribute = (name: string, suites: readonly string[], ...edits: readonly Edit[]): Mutation => ({
  name: `security: ${name}`,
  edits: edits.map(([file, find, replace]) => ({ file: `${SOURCE}/${file}`, find, replace })),
  build: ['packages/distribute'],
  suites,
})
const inCommand = (name: string, ...[file, find, replace]: Edit): Mutation => ({
  name: `security: ${name}`,
  edits: [{ file: `packages/prismal/src/${file}`, find, replace }],
  build: ['packages/prismal'],
  suites: [FILES],
})

export const SECURITY_MUTATIONS: readonly Mutation[] = [
  inDistribute(
    'a side without a secret is taken',
    [HANDSHAKE],
    ['handshake.ts', 'if (ours && !theirs)', 'if (!ours && !ours && theirs && !theirs)'],
  ),
  inDistribute(
    'a side with a secret is taken by one without',
    [HANDSHAKE],
    ['handshake.ts', 'if (!ours && theirs)', 'if (ours && !ours)'],
  ),
  inDistribute(
    'proofs are not checked',
    [HANDSHAKE],
    ['handshake.ts', 'if (!(await isProofOf(session, other, proof)))', 'if (proof.length === 0)'],
  ),
  inDistribute(
    'hellos are not bound to the keys',
    [HANDSHAKE],
    ['key-schedule.ts', "new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))", 'new Uint8Array(32)'],
  ),
  inDistribute(
    'the secret is not in the keys',
    [HANDSHAKE],
    ['key-schedule.ts', '  material.set(secret, shared.length)\n', ''],
  ),
  inDistribute('the X25519 keys are not in the keys', [EXAMPLE], ['key-schedule.ts', '  material.set(shared)\n', '']),
  inDistribute(
    'both sides prove with one key',
    [HANDSHAKE],
    [
      'key-schedule.ts',
      'const proofKey = async (side: Side) =>',
      "const proofKey = async (_: Side, side = 'dialer') =>",
    ],
  ),
  inDistribute(
    'both sides seal with one key',
    [PACKETS],
    ['key-schedule.ts', 'const traffic = (side: Side) =>', "const traffic = (_: Side, side = 'dialer') =>"],
  ),
  inDistribute(
    'keys of low order are taken',
    [HANDSHAKE],
    ['key-schedule.ts', 'shared.every(byte => byte === 0)', 'shared.every(byte => byte === 256)'],
  ),
  inDistribute('nonces do not differ', [HANDSHAKE, EXAMPLE], ['hello.ts', '  bytes.set(nonce, NONCE_AT)\n', '']),
  inDistribute(
    'versions are not compared',
    [HANDSHAKE],
    ['handshake.ts', 'if (ours.some(version => theirs.includes(version))) return', 'if (ours.length > 0) return'],
  ),
  inDistribute(
    'a hello may come from the same side',
    [HANDSHAKE],
    ['hello.ts', 'if (bytes[5] !== SIDES.indexOf(side))', 'if (bytes[5] === 9)'],
  ),
  inDistribute(
    'hellos may be of any length',
    [HANDSHAKE, SOCKETS],
    ['hello.ts', 'MOST_HANDSHAKE_BYTES = 4096', 'MOST_HANDSHAKE_BYTES = 2 ** 30'],
  ),
  inDistribute(
    'the handshake takes its time',
    [HANDSHAKE],
    ['handshake.ts', '      handshakeMs,\n    )', '      handshakeMs * 1000,\n    )'],
  ),
  inDistribute(
    'any amount is kept before the proof',
    [HANDSHAKE],
    ['handshake.ts', 'this.#heldBytes > mostHeldBytes', 'this.#heldBytes > 2 ** 40'],
  ),
  inDistribute(
    'refused connections stay open',
    [HANDSHAKE],
    ['handshake.ts', '    connection.close(why.message)\n', ''],
  ),
  inDistribute(
    'headers are not authenticated',
    [PACKETS],
    ['aes-gcm.ts', '      cipher.setAAD(header)\n', ''],
    ['aes-gcm.ts', '      decipher.setAAD(header)\n', ''],
  ),
  inDistribute('tags are not checked', [PACKETS], ['aes-gcm.ts', '      decipher.final()\n', '']),
  inDistribute(
    'packets are not counted',
    [PACKETS],
    ['aes-gcm.ts', 'const number = this.#number++', 'const number = this.#number'],
  ),
  inDistribute('the counter has 32 bits', [SEALING], ['aes-gcm.ts', 'Math.floor(number / 2 ** 32)', '0']),
  inDistribute(
    'a key is used for ever',
    [SEALING],
    ['aes-gcm.ts', 'this.#packetsOfKey >= this.#limits.packets || ', ''],
    ['aes-gcm.ts', 'this.#bytesOfKey >= this.#limits.bytes', 'false'],
  ),
  inDistribute(
    'bytes of a key are not counted',
    [SEALING],
    ['aes-gcm.ts', ' || this.#bytesOfKey >= this.#limits.bytes', ''],
  ),
  inDistribute(
    'a failure is forgotten',
    [SEALING],
    ['aes-gcm.ts', '    if (this.#failure) return Promise.reject(this.#failure)\n', ''],
    ['aes-gcm.ts', '    const result = this.#last\n      .then(() => work)\n', '    const result = work\n'],
  ),
  inDistribute(
    'packets settle as they are ready',
    [SEALING],
    ['aes-gcm.ts', '    const result = this.#last\n      .then(() => work)\n', '    const result = work\n'],
  ),
  inDistribute(
    'what waits for a key is read late',
    [SEALING],
    ['aes-gcm.ts', 'header.slice(), bytes.slice())', 'header as Bytes, bytes as Bytes)'],
  ),
  inDistribute(
    'a secret prints itself',
    [SECRET],
    ['secret.ts', "toString(): string {\n    return '[secret]'", 'toString(): string {\n    return this.reveal()'],
  ),
  inDistribute(
    'a secret is in JSON',
    [SECRET],
    ['secret.ts', "toJSON(): string {\n    return '[secret]'", 'toJSON(): string {\n    return this.reveal()'],
  ),
  inDistribute(
    'checksums are not compared',
    [SECRET],
    ['secret.ts', 'if (found !== checksum(secret))', 'if (found < 0)'],
  ),
  inDistribute(
    'typed secrets are taken',
    [SECRET],
    ['secret.ts', 'bytes.every(byte => byte >= 0x20 && byte < 0x7f)', 'bytes.length === 0'],
  ),
  inDistribute(
    'a constant secret is taken',
    [SECRET],
    ['secret.ts', 'if (distinct < LEAST_DISTINCT)', 'if (distinct < 0)'],
  ),
  inCommand("others may read a secret's file", 'secret-file.ts', 'if (stat.mode & OTHERS)', 'if (stat.mode & 0)'),
  inCommand("a secret's file is made for all", 'secret-file.ts', "open(path, 'wx', 0o600)", "open(path, 'wx', 0o644)"),
  inCommand("a secret's file is overwritten", 'secret-file.ts', "open(path, 'wx', 0o600)", "open(path, 'w', 0o600)"),
  inCommand('a redirected secret is left open', 'commands/secret.ts', 'fchmodSync(OUT, 0o600)', 'fstatSync(OUT)'),
  inCommand(
    'secrets in arguments are repeated',
    'cli.ts',
    ".replace(/prismal-secret-1\\.[\\w-]+/g, 'prismal-secret-1.…')",
    '',
  ),
  inCommand(
    'secrets as file names are repeated',
    'secret-file.ts',
    "path.trim().startsWith('prismal-secret-')",
    "path.startsWith('no')",
  ),
]
