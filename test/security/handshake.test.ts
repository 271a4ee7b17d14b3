/** Who may join: both sides refuse what does not have the secret, and say why without telling it. */
import { inspect } from 'node:util'
import { HandshakeError, handshake, Secret } from '@prismal/distribute'
import { memoryPair } from '@prismal/distribute/transports/memory'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeHello, encodeProof } from '../../packages/distribute/src/hello.js'
import { RUNS } from '../runs.js'
import { Adversary, collect, contains, meet, other, outcome, outcomes, type Side } from './adversary.js'

const SIDES: readonly Side[] = ['dialer', 'listener']
const secret = Secret.create()
const withSecret = { secret, handshakeMs: 5000 }
const text = (words: string): Uint8Array => new TextEncoder().encode(words)
const SIDE_AT = 5
const FLAGS_AT = 6
/** A message with one byte replaced. */
const edited = (message: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = message.slice()
  copy[at] = value
  return copy
}

describe('a handshake', () => {
  test.each([
    ['with a secret', withSecret],
    ['without', {}],
  ])('%s gives connections that carry messages both ways', async (_, options) => {
    const { dialer, listener } = await meet(new Adversary(), options)
    const [atDialer, atListener] = [collect(dialer), collect(listener)]
    await Promise.all([dialer.send(text('to the listener')), listener.send(text('to the dialer'))])
    await Promise.all([atDialer.count(1), atListener.count(1)])
    expect(atListener.got).toEqual([text('to the listener')])
    expect(atDialer.got).toEqual([text('to the dialer')])
    dialer.close('enough')
    expect(await Promise.all([dialer.closed, listener.closed])).toEqual(['enough', 'enough'])
  })

  test('with a secret shows nobody what is said, nor the secret', async () => {
    const between = new Adversary()
    const { dialer, listener } = await meet(between, withSecret)
    const words = text('a sentence that nobody else should read')
    const got = collect(listener)
    await dialer.send(words)
    await got.count(1)
    expect(got.got).toEqual([words])
    expect(between.seen.length).toBeGreaterThan(4)
    for (const { message } of between.seen) {
      expect(contains(message, words.subarray(0, 8))).toBe(false)
      for (const hidden of [secret.bytesForThread(), text(secret.reveal())])
        for (let i = 0; i + 6 <= hidden.length; i++) expect(contains(message, hidden.subarray(i, i + 6))).toBe(false)
    }
    dialer.close()
  })

  test('without one shows what is said, as documented', async () => {
    const between = new Adversary()
    const { dialer, listener } = await meet(between, {})
    const words = text('a sentence that anybody can read')
    const got = collect(listener)
    await dialer.send(words)
    await got.count(1)
    expect(between.seen.some(({ message }) => contains(message, words))).toBe(true)
    dialer.close()
  })

  test('hands on what is sent at once, before the other side is done', async () => {
    for (let round = 0; round < 20; round++) {
      const between = new Adversary()
      const meeting = SIDES.map(async side => {
        const connection = await handshake(between.ends[side], side, withSecret)
        const sending = Array.from({ length: 10 }, (_, i) => connection.send(Uint8Array.of(round, i)))
        const got = collect(connection)
        await Promise.all([...sending, got.count(10)])
        expect(got.got.map(([r, i]) => [r, i])).toEqual(Array.from({ length: 10 }, (_, i) => [round, i]))
        return connection
      })
      for (const connection of await Promise.all(meeting)) connection.close()
    }
  })
})

describe('who does not have the secret', () => {
  test('and has none is refused, and both sides learn who lacks it', async () => {
    const lacksOther = 'handshake: this side has a secret and the other has none: give the other side the same secret'
    const lacksThis = 'handshake: the other side has a secret and this one has none: give this side the same secret'
    expect(await outcomes(new Adversary(), withSecret, {})).toEqual({ dialer: lacksOther, listener: lacksThis })
    expect(await outcomes(new Adversary(), {}, withSecret)).toEqual({ dialer: lacksThis, listener: lacksOther })
  })

  test('but another is refused, and both sides learn it', async () => {
    const wrong = { ...withSecret, secret: Secret.create() }
    const differ = expect.stringMatching(/^handshake: the secrets differ/)
    expect(await outcomes(new Adversary(), withSecret, wrong)).toEqual({ dialer: differ, listener: differ })
  })

  test('is not told it by any error, in any form', async () => {
    const errors: unknown[] = []
    const note = (meeting: Promise<unknown>) => meeting.catch(error => errors.push(error))
    for (const options of [{}, { secret: Secret.create() }]) {
      const between = new Adversary()
      await Promise.all([
        note(handshake(between.ends.dialer, 'dialer', options)),
        note(handshake(between.ends.listener, 'listener', withSecret)),
      ])
      errors.push(await between.ends.dialer.closed)
    }
    expect(errors).toHaveLength(6)
    const printed = inspect(errors, { depth: 9, showHidden: true }) + JSON.stringify(errors) + errors.map(String)
    const bytes = Buffer.from(secret.bytesForThread())
    for (const form of [secret.reveal(), bytes.toString('hex'), bytes.toString('base64'), [...bytes].join(',')])
      for (let i = 0; i + 10 <= form.length; i += 5)
        if (!'prismal-secret-1.'.includes(form.slice(i, i + 10))) expect(printed).not.toContain(form.slice(i, i + 10))
  })
})

/** What a side's handshake says when it is sent these, one for each message that it sends or at once. */
async function answering(
  side: Side,
  script: (sent: Uint8Array, n: number) => readonly Uint8Array[],
  first: readonly Uint8Array[] = [],
) {
  const [end, mine] = memoryPair()
  let n = 0
  mine.receive(message => {
    for (const reply of script(message, n++)) void mine.send(reply.slice()).catch(() => {})
  })
  for (const message of first) void mine.send(message.slice())
  return outcome(handshake(end, side, withSecret))
}

describe('somebody without the secret who', () => {
  test('replays a recorded session is refused by either side', async () => {
    const between = new Adversary()
    const { dialer } = await meet(between, withSecret)
    dialer.close()
    const recorded = { dialer: between.sentBy('dialer'), listener: between.sentBy('listener') }
    expect(recorded.dialer.length).toBeGreaterThanOrEqual(2)
    const refused = expect.stringMatching(/^handshake: the secrets differ/)
    expect(await answering('listener', () => [], recorded.dialer)).toEqual(refused)
    expect(await answering('dialer', (_, n) => (n === 0 ? recorded.listener : []))).toEqual(refused)
  })

  test('sends back what it gets is refused, also with the side rewritten', async () => {
    const echo = (message: Uint8Array) => [message]
    expect(await answering('dialer', echo)).toMatch(
      /^handshake: the hello of a listener was to come, and one of a dialer/,
    )
    const rewritten = (message: Uint8Array) => [edited(message, SIDE_AT, 1)]
    expect(await answering('dialer', rewritten)).toMatch(/^handshake: the secrets differ/)
    // The listener speaks second: its own challenge is its answer on a second connection.
    const [end, mine] = memoryPair()
    const first = outcome(handshake(end, 'listener', withSecret))
    const hello = { side: 'dialer', hasSecret: true, versions: [1], nonce: new Uint8Array(32) } as const
    const got = collect(mine)
    void mine.send(encodeHello({ ...hello, publicKey: new Uint8Array(32).fill(9) }))
    await got.count(2)
    const reflected = got.got.map(message => edited(message, SIDE_AT, 0))
    expect(await answering('listener', () => [], reflected)).toMatch(/^handshake: the secrets differ/)
    void mine.send(reflected[1] as Uint8Array)
    expect(await first).toMatch(/^handshake: the secrets differ/)
  })

  test('sits between and puts in keys of its own is refused by both', async () => {
    const pair = (await crypto.subtle.generateKey({ name: 'X25519' }, true, ['deriveBits'])) as CryptoKeyPair
    const own = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))
    const between = new Adversary((message, _from, number) => {
      if (number === 0) message.set(own, 40)
      return undefined
    })
    const differ = expect.stringMatching(/^handshake: the secrets differ/)
    expect(await outcomes(between, withSecret)).toEqual({ dialer: differ, listener: differ })
  })

  test('offers a key with which every shared key is zero is refused', async () => {
    // The points of order 1, 2, 4 and 8 of Curve25519, RFC 7748 section 6.1 and https://cr.yp.to/ecdh.html.
    const low = [
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000000',
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    ]
    for (const point of low) {
      const publicKey = new Uint8Array(Buffer.from(point, 'hex'))
      const hello = { hasSecret: true, versions: [1], nonce: crypto.getRandomValues(new Uint8Array(32)), publicKey }
      for (const side of SIDES) {
        const theirs = encodeHello({ ...hello, side: other(side) })
        expect(await answering(side, () => [], [theirs])).toMatch(/^handshake: the other side's key is one that gives/)
      }
    }
  })

  test('changes any byte of the hellos or proofs is refused by at least one side, and nothing passes', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...SIDES),
        fc.boolean(),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (side, isHello, at, flip) => {
          const between = new Adversary((message, from, number) => {
            if (from !== side || number !== (isHello ? 0 : 1)) return undefined
            const i = at % message.length
            return [edited(message, i, (message[i] as number) ^ flip)]
          })
          const { dialer, listener } = await outcomes(between, withSecret)
          // A hello changes both sides' keys; a proof is judged by one side, and tells nothing to the other.
          // Bytes of a proof that are not looked at may be anything.
          const isIgnored = !isHello && (at % 40 === 6 || at % 40 === 7)
          const judge = side === 'dialer' ? listener : dialer
          if (isIgnored) expect(judge).toBe('agreed')
          else expect(judge).toMatch(/^handshake: /)
          if (isHello) expect([dialer, listener].every(said => said.startsWith('handshake: '))).toBe(true)
        },
      ),
      { numRuns: RUNS },
    ))

  test('guesses proofs is refused', () =>
    fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.constantFrom(...SIDES),
        async (guess, side) => {
          const hello = { hasSecret: true, versions: [1], nonce: guess, publicKey: new Uint8Array(32).fill(9) }
          const messages = [encodeHello({ ...hello, side: other(side) }), encodeProof(other(side), guess)]
          expect(await answering(side, () => [], messages)).toMatch(/^handshake: the secrets differ/)
        },
      ),
      { numRuns: 20 },
    ))
})

describe('versions', () => {
  const refused = (error: unknown) => `handshake: ${error}`

  test('without a common one name both sides and which to update', async () => {
    expect(await outcomes(new Adversary(), { versions: [1, 2] }, { versions: [3] })).toEqual({
      dialer: refused('this side speaks protocol versions 1, 2, the other version 3: update this side'),
      listener: refused('this side speaks protocol version 3, the other versions 1, 2: update the other side'),
    })
    expect(await outcomes(new Adversary(), { ...withSecret, versions: [7] }, withSecret)).toEqual({
      dialer: refused('this side speaks protocol version 7, the other version 1: update the other side'),
      listener: refused('this side speaks protocol version 1, the other version 7: update this side'),
    })
  })

  test('with a common one agree', async () => {
    const agreed = { dialer: 'agreed', listener: 'agreed' }
    for (const options of [{}, withSecret])
      expect(
        await outcomes(new Adversary(), { ...options, versions: [1, 2, 9] }, { ...options, versions: [2, 3] }),
      ).toEqual(agreed)
  })

  test('cannot be talked down by somebody between', async () => {
    const options = { ...withSecret, versions: [1, 2] }
    // Each side is told that the other speaks version 1 only: by another number, or by a shorter list.
    const rules = [
      (message: Uint8Array) => [edited(message, 74, 1)],
      (message: Uint8Array) => [edited(message.slice(0, 74), 7, 1)],
      (message: Uint8Array) => [edited(message, 7, 1)],
    ]
    const differ = expect.stringMatching(/^handshake: the secrets differ \(or something between/)
    for (const rule of rules) {
      const between = new Adversary((message, _from, number) => (number === 0 ? rule(message) : undefined))
      expect(await outcomes(between, options)).toEqual({ dialer: differ, listener: differ })
    }
  })

  test('that are too many or none are an error of whoever offers them', async () => {
    for (const versions of [[], Array(256).fill(1)]) {
      const [end, mine] = memoryPair()
      expect(await outcome(handshake(end, 'dialer', { versions }))).toMatch(/^handshake: \d+ protocol versions/)
      expect(await mine.closed).toMatch(/protocol versions/)
    }
  })
})

describe('encryption', () => {
  test('cannot be talked away: a side that has a secret goes on with nobody who seems to have none', async () => {
    const cleared: Adversary[] = SIDES.map(
      side =>
        new Adversary((message, from, number) =>
          number === 0 && from === side ? [edited(message, FLAGS_AT, 0)] : undefined,
        ),
    )
    cleared.push(new Adversary((message, _, number) => (number === 0 ? [edited(message, FLAGS_AT, 0)] : undefined)))
    for (const between of cleared) {
      const said = Object.values(await outcomes(between, withSecret))
      expect(said.every(words => words.startsWith('handshake: '))).toBe(true)
      expect(said.join()).toContain('this side has a secret and the other has none')
    }
  })

  test('cannot be pretended: a side without a secret goes on with nobody who seems to have one', async () => {
    const between = new Adversary((message, _, number) => (number === 0 ? [edited(message, FLAGS_AT, 1)] : undefined))
    for (const said of Object.values(await outcomes(between, {})))
      expect(said).toContain('the other side has a secret and this one has none')
  })
})

describe('limits', () => {
  test('on length: what is too long is refused, whatever it begins with', async () => {
    for (const side of SIDES) {
      const hello = { side: other(side), hasSecret: true, versions: [1], nonce: new Uint8Array(32) } as const
      const long = new Uint8Array(4097)
      long.set(encodeHello({ ...hello, publicKey: new Uint8Array(32).fill(9) }))
      expect(await answering(side, () => [], [long])).toBe('handshake: a hello of 4097 bytes (at most 4096): refused')
      const longProof = new Uint8Array(1 << 20)
      longProof.set(encodeProof(other(side), new Uint8Array(32)))
      const short = long.slice(0, 4096)
      expect(await answering(side, () => [], [short, longProof])).toBe(
        'handshake: a proof of 1048576 bytes (at most 4096): refused',
      )
    }
  })

  test('on time: who says nothing, or too little, is let go within it', async () => {
    const hello = encodeHello({
      side: 'dialer',
      hasSecret: true,
      versions: [1],
      nonce: new Uint8Array(32),
      publicKey: new Uint8Array(32).fill(9),
    })
    for (const [first, missing] of [
      [[], 'a hello'],
      [[hello], 'a proof'],
    ] as const) {
      const [end, mine] = memoryPair()
      for (const message of first) void mine.send(message.slice())
      const said = await outcome(handshake(end, 'listener', { secret, handshakeMs: 300 }))
      expect(said).toBe(`handshake: ${missing} did not come within 300 ms`)
      expect(await mine.closed).toBe(`${missing} did not come within 300 ms`)
    }
  })

  test('on memory: what comes before its time is kept up to twice the window, and no further', async () => {
    let arrive!: (message: Uint8Array) => void | Promise<void>
    const meeting = outcome(
      handshake(
        {
          maxMessageBytes: 1 << 20,
          send: async () => {},
          receive: handler => {
            arrive = handler
          },
          close: () => {},
          closed: new Promise(() => {}),
        },
        'listener',
        { secret, windowBytes: 4096 },
      ),
    )
    const hello = { side: 'dialer', hasSecret: true, versions: [1], nonce: new Uint8Array(32) } as const
    await arrive(encodeHello({ ...hello, publicKey: new Uint8Array(32).fill(9) }))
    const kept = Array.from({ length: 100 }, () => arrive(new Uint8Array(1000)))
    // What is kept counts as on its way until somebody takes it; the rest is let go of.
    expect(kept.filter(taken => taken !== undefined)).toHaveLength(8)
    expect(await meeting).toMatch(/^handshake: /)
  })

  test('end the wait when the other side goes', async () => {
    for (const side of SIDES) {
      const [end, mine] = memoryPair()
      mine.close('went\u0007 away\nlong ago')
      expect(await outcome(handshake(end, side, withSecret))).toMatch(
        /^handshake: .*the (other side ended the handshake|connection is closed): went away long ago$/,
      )
    }
  })

  test('let any bytes come without anything but a typed error', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        fc.constantFrom(...SIDES),
        async (messages, isStarted, side) => {
          const start = [0x50, 0x52, 0x53, 0x4d, 1, side === 'dialer' ? 1 : 0, 1, 1]
          const sent = messages.map((message, i) =>
            isStarted && i === 0 ? Uint8Array.from([...start, ...message]) : message,
          )
          const [end, mine] = memoryPair()
          for (const message of sent) void mine.send(message.slice())
          const meeting = handshake(end, side, { secret, handshakeMs: 20 })
          await expect(meeting).rejects.toBeInstanceOf(HandshakeError)
        },
      ),
      { numRuns: RUNS },
    ))
})
