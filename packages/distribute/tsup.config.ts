import { library } from '../../tsup.shared.js'

export default library({
  entry: {
    index: 'src/index.ts',
    threads: 'src/threads.ts',
    'worker-thread': 'src/worker-thread.ts',
    'transports/memory': 'src/transports/memory.ts',
    'transports/message-port': 'src/transports/message-port.ts',
    'transports/nats': 'src/transports/nats.ts',
    nats: 'src/nats/index.ts',
  },
})
