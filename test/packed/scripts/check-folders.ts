/** Checks the folders that the command names, in a runtime with folders and threads; prints the result as JSON. */
import { thread } from '@prismal/distribute/threads'
import { openFiles } from '@prismal/models/node'
import { check } from '../check.js'

const result = await check({
  locations: process.argv.slice(2),
  open: openFiles,
  thread: build => thread({ build }),
})
console.log(JSON.stringify(result))
