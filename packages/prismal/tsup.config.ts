import { library } from '../../tsup.shared.js'

export default library({
  entry: [
    'src/index.ts',
    'src/cli.ts',
    'src/tensor.ts',
    'src/models.ts',
    'src/distribute.ts',
    'src/nats.ts',
    'src/host.ts',
    'src/pipeline-worker.ts',
    'src/decoders.ts',
    'src/no-decoders.ts',
    'src/evaluate.ts',
    'src/evaluate-job.ts',
    'src/transports/web-rtc.ts',
    'src/transports/web-socket.ts',
  ],
})
