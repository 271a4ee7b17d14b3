import { library } from '../../tsup.shared.js'

export default library({
  entry: {
    index: 'src/index.ts',
    threads: 'src/threads.ts',
    'worker-thread': 'src/worker-thread.ts',
    'transports/memory': 'src/transports/memory.ts',
    'transports/message-port': 'src/transports/message-port.ts',
    'transports/web-rtc': 'src/transports/web-rtc.ts',
    'transports/web-socket': 'src/transports/web-socket.ts',
  },
})
