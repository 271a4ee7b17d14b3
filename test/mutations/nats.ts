/** Ways to break what goes through a NATS server. Without nats-server their suites cannot turn red. */
import type { Mutation } from './mutations.js'

const SOURCE = 'packages/distribute/src'
const TRANSPORT = 'test/nats/transport.test.ts'
const DISCOVERY = 'test/nats/discovery.test.ts'
const REQUESTS = 'test/nats/requests.test.ts'
const MODELS = 'test/nats/models.test.ts'

const broken = (name: string, suite: string, file: string, find: string, replace: string): Mutation => ({
  name: `nats: ${name}`,
  edits: [{ file: `${SOURCE}/${file}`, find, replace }],
  build: ['packages/distribute'],
  suites: [suite],
})

export const NATS_MUTATIONS: readonly Mutation[] = [
  broken(
    'messages are the Buffers that came',
    TRANSPORT,
    'transports/nats.ts',
    'this.#received(plain(message.data))',
    'this.#received(message.data)',
  ),
  broken('any subject is taken for an inbox', TRANSPORT, 'transports/nats.ts', '|| !INBOX.test(inbox)', ''),
  broken('connections are not counted', TRANSPORT, 'transports/nats.ts', 'taken.size >= maxConnections', '!taken'),
  broken(
    'messages are sent however long',
    TRANSPORT,
    'transports/nats.ts',
    'message.length > this.maxMessageBytes',
    '!message',
  ),
  broken(
    'MACs are not looked at',
    DISCOVERY,
    'nats/announcement.ts',
    'if (lie !== undefined) return',
    'if (!data) return',
  ),
  broken(
    'repetitions are believed',
    DISCOVERY,
    'nats/announcement.ts',
    'if (last && told.time <= last.time)',
    'if (!last && last)',
  ),
  broken('an answer answers every question', DISCOVERY, 'nats/announcement.ts', '&& told.nonce === nonce', ''),
  broken('names may command a terminal', DISCOVERY, 'nats/announcement.ts', '&& !/[\\u0000-', '&& !/\\uffff[\\u0000-'),
  broken('the busy come first', DISCOVERY, 'nats/directory.ts', 'a.sessions - b.sessions', 'b.sessions - a.sessions'),
  broken('other models are taken', DISCOVERY, 'nats/directory.ts', 'm => m.digest === digest)\n  if', 'm => m)\n  if'),
  {
    ...broken('a busy group takes more', REQUESTS, 'nats/serve.ts', '|| this.#running.size >= this.#limit)', ')'),
    edits: [
      ['|| this.#running.size >= this.#limit)', ')'],
      ['if (this.#running.size >= this.#limit) this.#leaveQueue()', ''],
    ].map(([find = '', replace = '']) => ({ file: `${SOURCE}/nats/serve.ts`, find, replace })),
  },
  broken(
    'what is sealed opens anywhere',
    REQUESTS,
    'nats/keys.ts',
    'additionalData: utf8(context)',
    'additionalData: utf8("")',
  ),
  broken('lost replies are not missed', REQUESTS, 'nats/requests.ts', 'if (number !== due)', 'if (!bytes)'),
  broken(
    'parts are not compared',
    MODELS,
    'nats/models.ts',
    'part?.length !== length || (await sha256Of(part)) !== sha256',
    '!part',
  ),
  broken('files may have any name', MODELS, 'nats/models.ts', '|| !FILE.test(name)', ''),
  broken('manifests need no MAC', MODELS, 'nats/models.ts', 'if (lie !== undefined) refuse', 'if (!text) refuse'),
]
