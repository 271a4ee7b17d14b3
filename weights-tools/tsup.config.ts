import { library } from '../packaging/library.js'

export default library({ entry: ['src/index.ts', 'src/cli.ts'] })
