/** The `prismal` command. Exit codes: 0 fine, 1 the work failed, 2 the command was wrong. */
import { PlanError } from '@prismal/distribute'
import { Command, CommanderError } from 'commander'
import { addAsk } from './commands/ask.js'
import { addCalibrate } from './commands/calibrate.js'
import { addDevices } from './commands/devices.js'
import { addDoctor } from './commands/doctor.js'
import { addEval } from './commands/eval.js'
import { addInspect } from './commands/inspect.js'
import { addPlan } from './commands/plan.js'
import { addPush } from './commands/push.js'
import { addRun } from './commands/run.js'
import { addSecret } from './commands/secret.js'
import { addServe } from './commands/serve.js'
import { addVerify } from './commands/verify.js'
import { addWorker } from './commands/worker.js'
import { description, version } from './versions.js'

async function main(argv: readonly string[]): Promise<number> {
  const program = new Command('prismal').description(description()).version(version())
  program.option('--debug', 'print stack traces').showHelpAfterError('(--help shows the options)')
  const work = [addRun, addWorker, addSecret, addPlan, addEval, addCalibrate, addInspect, addVerify]
  for (const add of [...work, addDevices, addPush, addServe, addAsk, addDoctor]) add(program)
  for (const command of [program, ...program.commands])
    command.exitOverride().configureOutput({ outputError: (text, write) => write(withoutSecrets(text)) })
  try {
    await program.parseAsync(argv)
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const isDebug = program.opts<{ debug?: true }>().debug
    console.error(isDebug ? error : error instanceof Error ? error.message : String(error))
    // A plan that cannot be is an option that cannot be.
    return error instanceof PlanError ? 2 : 1
  }
}

// Whoever read the output has enough of it.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})
process.exitCode = await main(process.argv)

/** What is wrong with a command, less the word in front and any secret that was typed into it. */
function withoutSecrets(text: string): string {
  return text.replace(/^error: /, '').replace(/prismal-secret-1\.[\w-]+/g, 'prismal-secret-1.…')
}
