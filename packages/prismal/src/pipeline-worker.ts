/** What runs in a pipeline's worker: `pipeline(…, { worker: true })` starts this script. */
import { serve } from './worker/serve.js'

serve()
