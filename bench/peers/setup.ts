/**
 * `npm run bench:peers-setup`: installs the peers here, PyTorch into bench/.cache/venv, writes the random models and what
 * onnxruntime runs of them. Some minutes, 3 GB of downloads and 4 GB of models; what is there is left as it is.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CASES } from '../peer-cases.js'
import { pythonPath } from '../peer-plan.js'
import { modelFolder, randomModel } from '../random-models.js'

const here = fileURLToPath(new URL('.', import.meta.url))

function run(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): void {
  console.log(`> ${command} ${args.join(' ')}`)
  const { status, error } = spawnSync(command, args, {
    cwd: here,
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  })
  if (status !== 0) {
    console.error(`bench:peers-setup: ${command} ${error ? error.message : `ended with ${status}`}`)
    process.exit(1)
  }
}

// Its script would download builds for GPUs; the one for CPUs is in the package.
if (!existsSync(join(here, 'node_modules/onnxruntime-web'))) run('npm', ['ci'], { ONNXRUNTIME_NODE_INSTALL: 'skip' })

const python = pythonPath()
if (!existsSync(python)) {
  run('python3', ['-m', 'venv', dirname(dirname(python))])
  run(python, ['-m', 'pip', 'install', '-r', 'requirements.txt'])
}

const models = [...new Set(CASES.map(({ model }) => model))]
for (const model of models) console.log(randomModel(model))
const isLacking = ({ name, model }: (typeof CASES)[number]): boolean =>
  !existsSync(join(modelFolder(model), `${name}-q8.onnx`))
const lacking = [...new Set(CASES.filter(isLacking).map(({ model }) => model))]
if (lacking.length > 0) run(python, ['make_models.py', dirname(modelFolder('vit-b16')), ...lacking])
