/** The script of an evaluation's threads. */
import { parentPort, workerData } from 'node:worker_threads'
import { serveJob } from './evaluate/job.js'

if (parentPort) void serveJob(parentPort, workerData)
