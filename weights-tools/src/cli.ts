/** The `prismal-weights` command. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { folderFiles } from '@prismal/models/node'
import { PRECISIONS, type Precision, PrismalError } from '@prismal/tensor'
import { Command, InvalidArgumentError, Option } from 'commander'
import { ELEMENT_BYTES, elementsOf, type StateDict } from './checkpoint.js'
import { type ConvertOptions, convert, SOURCES } from './convert.js'
import { readCheckpoint, writeModelFolder } from './files.js'
import { storeModel } from './precision.js'

const FAILED = 1
const WRONG_COMMAND = 2

function numbers(text: string): number[] {
  const parts = text.split(',')
  const values = parts.map(Number)
  if (!values.every(Number.isFinite) || parts.some(part => part.trim() === ''))
    throw new InvalidArgumentError('expected numbers with commas between them')
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

interface ConvertFlags extends ConvertOptions {
  readonly dtype?: Precision
  readonly force?: boolean
}

function print(folder: string, what: string, parameters: number, bytes: number): void {
  process.stdout.write(`${folder}: ${what}, ${parameters.toLocaleString('en')} parameters, ${bytes} bytes\n`)
}

async function store(
  input: string,
  folder: string,
  options: { dtype: Precision; force: boolean },
  what = 'huggingface',
): Promise<void> {
  const { parameters, bytes } = await storeModel(await folderFiles(input), folder, options)
  print(folder, `${what}, matrices in ${options.dtype}`, parameters, bytes)
}

const program = new Command('prismal-weights')
  .description('Converts, quantises and inspects checkpoints: PyTorch zip (.pt, .bin), safetensors, minGPT as JSON')
  .exitOverride(error => process.exit(error.exitCode === 0 ? 0 : WRONG_COMMAND))

program
  .command('convert')
  .description('write a checkpoint as a Hugging Face folder: config.json, model.safetensors, …')
  .argument('<input>', 'checkpoint file, or a model folder')
  .argument('<out-dir>', 'folder to write')
  .addOption(
    new Option('--dtype <name>', 'how matrices are stored (as they are if not given; a folder: f32)').choices(
      PRECISIONS,
    ),
  )
  .addOption(new Option('--from <source>', 'whose names it has').choices(['auto', ...SOURCES]).default('auto'))
  .option('--heads <number>', 'attention heads, where the checkpoint does not tell', wholeNumber)
  .addOption(new Option('--activation <name>', 'vit-pytorch: of the MLP (gelu if not given)').choices(['gelu', 'relu']))
  .option('--image-mean <values>', 'vit-pytorch: mean of each channel in training, e.g. 0.1307', numbers)
  .option('--image-std <values>', 'vit-pytorch: standard deviation of each channel, e.g. 0.3081', numbers)
  .option('--labels <names>', 'vit-pytorch: names of the classes, with commas', (text: string) => text.split(','))
  .option('--force', 'replace a model that is there already')
  .action(async (input: string, folder: string, flags: ConvertFlags) => {
    const { force = false, dtype, ...options } = flags
    if (statSync(input).isDirectory()) return store(input, folder, { dtype: dtype ?? 'f32', force })
    const { model, source } = convert(input, options)
    const { parameters, bytes } = sizes(model.tensors)
    if (dtype === undefined) {
      writeModelFolder(folder, model, { force })
      print(folder, source, parameters, bytes)
      return
    }
    // Only what loads tells which tensors are matrices.
    const whole = mkdtempSync(join(tmpdir(), 'prismal-convert-'))
    try {
      writeModelFolder(whole, model)
      await store(whole, folder, { dtype, force }, source)
    } finally {
      rmSync(whole, { recursive: true })
    }
  })

program
  .command('quantise')
  .description('write a model folder again with its matrices in fewer bits')
  .argument('<dir>', 'model folder')
  .argument('<out-dir>', 'folder to write')
  .addOption(new Option('--dtype <name>', 'how matrices are stored').choices(PRECISIONS).default('q8'))
  .option('--force', 'replace a model that is there already')
  .action((input: string, folder: string, { dtype = 'q8', force = false }: ConvertFlags) =>
    store(input, folder, { dtype, force }),
  )

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
  await program.parseAsync()
} catch (error) {
  if (!isExpected(error)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = FAILED
}
