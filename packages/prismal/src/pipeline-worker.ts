/** What runs in a pipeline's worker: `pipeline(…, { worker: true })` starts this script. */
import { serve } from './worker/serve.js'
import { callerPort } from './worker/thread.js'

serve(callerPort())
