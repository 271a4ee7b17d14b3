/** Prints what this Node is capable of, by the same files: `node in-node.js FILES MODEL`. */
import { pathToFileURL } from 'node:url'
import { speeds } from './speed.js'

const [files, model] = process.argv.slice(2)
console.log(JSON.stringify(await speeds(pathToFileURL(files).href, model)))
