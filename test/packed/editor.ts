/** What an editor shows of the packages: TypeScript's server, asked as editors ask it. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { REPOSITORY } from './pack.js'

/** Where a definition lies. Lines count from 1. */
export interface Place {
  readonly file: string
  readonly start: { readonly line: number; readonly offset: number }
}

/**
 * Where "go to definition" leads from words of a file.
 * @param file a TypeScript file that need not be written yet
 * @param text what it holds
 * @param words what is gone to, each at its last place in the text
 * @returns a place for each; undefined where there is none
 */
export async function definitions(
  file: string,
  text: string,
  words: readonly string[],
): Promise<readonly (Place | undefined)[]> {
  const server = spawn(process.execPath, [join(REPOSITORY, 'node_modules/typescript/lib/tsserver.js')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ask = (seq: number, command: string, given: object): boolean =>
    server.stdin.write(`${JSON.stringify({ seq, type: 'request', command, arguments: given })}\n`)
  try {
    ask(0, 'open', { file, fileContent: text })
    for (const [i, word] of words.entries()) {
      const before = text.slice(0, text.lastIndexOf(word)).split('\n')
      ask(i + 1, 'definition', { file, line: before.length, offset: (before.at(-1) ?? '').length + 1 })
    }
    const found = new Map<number, Place | undefined>()
    for await (const line of createInterface({ input: server.stdout })) {
      if (!line.startsWith('{')) continue
      const told = JSON.parse(line) as { type: string; command?: string; request_seq: number; body?: readonly Place[] }
      if (told.type === 'response' && told.command === 'definition') found.set(told.request_seq, told.body?.[0])
      if (found.size === words.length) break
    }
    return words.map((_, i) => found.get(i + 1))
  } finally {
    server.kill()
  }
}
