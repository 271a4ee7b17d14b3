import { library } from '../../packaging/library.js'

export default library({
  entry: {
    index: 'src/index.ts',
    errors: 'src/errors.ts',
    threads: 'src/threads.ts',
    host: 'src/host.ts',
    'worker-thread': 'src/worker-thread.ts',
    'network-thread': 'src/network-thread.ts',
    'transports/memory': 'src/transports/memory.ts',
    'transports/message-port': 'src/transports/message-port.ts',
    'transports/web-rtc': 'src/transports/web-rtc.ts',
    'transports/web-socket': 'src/transports/web-socket.ts',
    'transports/nats': 'src/transports/nats.ts',
    nats: 'src/nats/index.ts',
  },
})
