/** Processes that are told what to do and answer, an object of JSON a line, over stdin and stdout; `{"error":"…"}` is one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { atExit } from './endings.js'

/** The process's side: answers one message after another until stdin ends, then exits. */
export async function serveLines<Message>(
  answer: (message: Message) => Promise<object>,
  before: () => Promise<void> = async () => {},
): Promise<never> {
  for await (const line of createInterface({ input: process.stdin })) {
    const reply = await answer(JSON.parse(line) as Message).catch((error: Error) => ({ error: error.message }))
    await before()
    process.stdout.write(`${JSON.stringify(reply)}\n`)
  }
  process.exit(0)
}

export class LineProcess {
  readonly name: string
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #complaints: string[] = []
  readonly #gone: Promise<void>

  constructor(name: string, command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    this.name = name
    const env = { ...process.env, ...environment }
    this.#process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env })
    const forget = atExit(() => void this.#process.kill('SIGKILL'))
    this.#gone = new Promise(resolve => {
      const end = (): void => {
        forget()
        resolve()
      }
      this.#process.once('exit', end)
      this.#process.once('error', error => {
        this.#complaints.push(error.message)
        end()
      })
    })
    this.#process.stdin?.on('error', () => {}) // of a process that is gone: its end tells
    this.#process.stderr?.on('data', data => this.#complaints.push(String(data)))
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]()
  }

  /** Throws what it answers as an error, or its last words where it ended. */
  async ask<Reply>(message: object): Promise<Reply> {
    this.#process.stdin?.write(`${JSON.stringify(message)}\n`)
    const reply = JSON.parse(await this.line()) as Reply | { error: string }
    if (typeof reply === 'object' && reply !== null && 'error' in reply)
      throw new Error(`${this.name}: ${(reply as { error: string }).error}`)
    return reply as Reply
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (!done) return value as string
    await this.#gone
    throw new Error(`${this.name} ended: ${lastWords(this.#complaints.join(''))}`)
  }

  /** Ends it by the end of its stdin, or by a signal where it does not listen to that. Resolves when it is gone. */
  async end(signal?: NodeJS.Signals): Promise<void> {
    if (signal) this.#process.kill(signal)
    else this.#process.stdin?.end()
    await this.#gone
  }
}

/** The line that names an error, which a stack trace follows or precedes; else the last lines. */
function lastWords(text: string): string {
  const lines = text.trim().split('\n')
  return lines.findLast(line => /^\w*Error\b/.test(line)) ?? (lines.slice(-3).join(' | ') || 'without a word')
}
