/** `prismal secret [--out FILE]`: makes a secret for devices to share. */
import { fchmodSync, fstatSync } from 'node:fs'
import { Secret } from '@prismal/distribute'
import type { Command } from 'commander'
import { writeSecretFile } from '../secret-file.js'

export function addSecret(program: Command): void {
  program
    .command('secret')
    .description('make a secret for devices to share; copy the file to each of them and name it by --secret-file')
    .option('--out <file>', 'write it to a new file that only its owner can read; default: print it')
    .action(secret)
}

async function secret(flags: { out?: string }): Promise<void> {
  const made = Secret.create()
  if (flags.out !== undefined) {
    await writeSecretFile(flags.out, made)
    console.error(`${flags.out}: a secret that only its owner can read; every device needs the same`)
    return
  }
  closeToOthers()
  console.log(made.reveal())
}

/** `prismal secret > FILE`: the shell made the file readable by others, and --secret-file would refuse it. */
function closeToOthers(): void {
  const OUT = 1
  if (process.platform === 'win32') return
  try {
    if (fstatSync(OUT).isFile()) fchmodSync(OUT, 0o600)
  } catch {
    // Somebody else's file, or none: reading it as a secret says so.
  }
}
