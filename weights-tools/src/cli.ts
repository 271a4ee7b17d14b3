#!/usr/bin/env node
/** The `prismal-weights` command. */
import { PrismalError } from '@prismal/tensor'
import { Command, InvalidArgumentError, Option } from 'commander'
import { ELEMENT_BYTES, elementsOf, type StateDict } from './checkpoint.js'
import { type ConvertOptions, convert, SOURCES } from './convert.js'
import { readCheckpoint, writeModelFolder } from './files.js'

const FAILED = 1
const WRONG_COMMAND = 2

function numbers(text: string): number[] {
  const values = text.split(',').map(Number)
  if (!values.every(Number.isFinite)) throw new InvalidArgumentError('expected numbers with commas between them')
  return values
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('expected a whole number from 1')
  return Number(text)
}

function sizes(tensors: StateDict): { parameters: number; bytes: number } {
  let parameters = 0
  let bytes = 0
  for (const { shape, storage } of tensors.values()) {
    parameters += elementsOf(shape)
    bytes += elementsOf(shape) * ELEMENT_BYTES[storage.dtype]
  }
  return { parameters, bytes }
}

const program = new Command('prismal-weights')
  .description('Converts and inspects checkpoints: PyTorch zip (.pt, .bin), safetensors, minGPT as JSON')
  .exitOverride(error => process.exit(error.exitCode === 0 ? 0 : WRONG_COMMAND))

program
  .command('convert')
  .description('write a checkpoint as a Hugging Face folder: config.json, model.safetensors, …')
  .argument('<input>', 'checkpoint file')
  .argument('<out-dir>', 'folder to write')
  .addOption(new Option('--from <source>', 'whose names it has').choices(['auto', ...SOURCES]).default('auto'))
  .option('--heads <number>', 'attention heads, where the checkpoint does not tell', wholeNumber)
  .addOption(new Option('--activation <name>', 'vit-pytorch: of the MLP (gelu if not given)').choices(['gelu', 'relu']))
  .option('--image-mean <values>', 'vit-pytorch: mean of each channel in training, e.g. 0.1307', numbers)
  .option('--image-std <values>', 'vit-pytorch: standard deviation of each channel, e.g. 0.3081', numbers)
  .option('--labels <names>', 'vit-pytorch: names of the classes, with commas', (text: string) => text.split(','))
  .option('--force', 'replace a model that is there already')
  .action((input: string, folder: string, { force, ...options }: ConvertOptions & { force?: boolean }) => {
    const { model, source } = convert(input, options)
    writeModelFolder(folder, model, { force: force === true })
    const { parameters, bytes } = sizes(model.tensors)
    process.stdout.write(`${folder}: ${source}, ${parameters.toLocaleString('en')} parameters, ${bytes} bytes\n`)
  })

program
  .command('inspect')
  .description('list the tensors of a checkpoint; runs nothing of what is in it')
  .argument('<file>', 'checkpoint file')
  .option('--json', 'print one JSON object')
  .action((file: string, { json }: { json?: boolean }) => {
    const { container, tensors } = readCheckpoint(file)
    const { parameters, bytes } = sizes(tensors)
    const rows = [...tensors].map(([name, { shape, storage }]) => ({ name, dtype: storage.dtype, shape }))
    if (json) process.stdout.write(`${JSON.stringify({ container, parameters, bytes, tensors: rows })}\n`)
    else {
      for (const { name, dtype, shape } of rows)
        process.stdout.write(`${dtype.padEnd(4)} ${name} [${shape.join(', ')}]\n`)
      process.stdout.write(
        `${container}: ${rows.length} tensors, ${parameters.toLocaleString('en')} parameters, ${bytes} bytes\n`,
      )
    }
  })

// Prismal's own errors and the file system's tell a person what to do; anything else is a defect and keeps its stack.
const isExpected = (error: unknown): error is Error =>
  error instanceof PrismalError || (error instanceof Error && 'code' in error && 'syscall' in error)

try {
  program.parse()
} catch (error) {
  if (!isExpected(error)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = FAILED
}
