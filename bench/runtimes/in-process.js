/** Prints what this runtime is capable of, by the same files: `node in-process.js FILES MODEL`. */
import { pathToFileURL } from 'node:url'
import { speeds } from './speed.js'

const [files, model] = process.argv.slice(2)
console.log(JSON.stringify(await speeds(pathToFileURL(files).href, model)))
