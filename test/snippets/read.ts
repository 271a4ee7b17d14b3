/** The fenced blocks of README.md and docs: each says by its info string how it is held to what it says. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Snippet {
  readonly file: string
  /** Of its first line. */
  readonly line: number
  /** The info string's first word. */
  readonly language: string
  /** The rest of it: runtimes, or the file that it quotes. */
  readonly about: string
  readonly text: string
}

const files = ['README.md', ...readdirSync(join(root, 'docs')).map(name => `docs/${name}`)].filter(f => /\.md$/.test(f))

export const SNIPPETS: readonly Snippet[] = files.flatMap(file => {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(/^```(\S*) *(.*)\n([\s\S]*?)^```$/gm)].map(({ index, 1: language, 2: about, 3: body }) => ({
    ...{ file, line: text.slice(0, index).split('\n').length + 1 },
    ...{ language: language as string, about: about as string, text: body as string },
  }))
})

/** What is done with blocks of a kind; a block of another kind is an error. */
export const KINDS = {
  /** A program, run in Node by snippets.test.ts. */
  program: ({ language, about }: Snippet) => language === 'ts' && about === '',
  /** Run in the runtimes that are named, from the packed packages, by test/packed/snippets.test.ts. */
  runtimes: ({ language, about }: Snippet) =>
    /^(js|html)$/.test(language) && /^(node|deno|bun|workerd|page|vite| )+$/.test(about),
  /** Lines of a file; `…` stands for more of them. */
  quote: ({ language, about }: Snippet) => language === 'ts' && /(?<!\.test)\.ts$/.test(about),
  /** Run by the test that is named, which knows what else it takes. */
  elsewhere: ({ language, about }: Snippet) => language !== 'console' && /\.test\.ts$/.test(about),
  /** Commands, whose names and options exist, and what they write. */
  console: ({ language, about }: Snippet) => language === 'console' && about === '',
} as const
export type Kind = keyof typeof KINDS

/** Throws where a block is of no kind, or of several. */
export function kindOf(snippet: Snippet): Kind {
  const [kind, ...more] = (Object.keys(KINDS) as Kind[]).filter(name => KINDS[name](snippet))
  if (!kind || more.length > 0)
    throw new Error(`${at(snippet)}: blocks of "${snippet.language} ${snippet.about}" are not tested by anything`)
  return kind
}

export const at = ({ file, line }: Snippet): string => `${file}:${line}`

/** Snippets of a kind as `it.each` wants them. */
export const snippetsOf = (kind: Kind): [string, Snippet][] =>
  SNIPPETS.filter(KINDS[kind]).map(snippet => [at(snippet), snippet])

/** Commands of a console block, without what is said of them, and the lines that follow each. */
export function commandsIn({ text }: Snippet): { command: string; output: string[] }[] {
  const commands: { command: string; output: string[] }[] = []
  for (const line of text.split('\n'))
    if (line.startsWith('$ ')) commands.push({ command: line.slice(2).replace(/\s{2,}#.*$/, ''), output: [] })
    else if (line) commands.at(-1)?.output.push(line)
  return commands
}

/**
 * The program with its claims made checks: a comment that is a literal, behind `const x = …`, `const [x] = …` or
 * `console.log(…)`, says what is given. `…` stands for more elements or properties, numbers are rounded as they are written.
 * `told` is where told.mjs is to be imported from. Throws for a literal behind anything else.
 */
export function withChecks(program: string, told: string): { code: string; claims: number } {
  let claims = 0
  const lines = program.split('\n').map(line => {
    const [, statement, said] = /^(.*\S) *\/\/ ([[{].*[\]}])$/.exec(line) ?? []
    if (!statement || !said) return line
    const [, first, name] = /^const (?:\[(\w+)\]|(\w+)) = /.exec(statement) ?? []
    const [, logged] = /^console\.log\((.*)\)$/.exec(statement) ?? []
    const given = first ?? name ?? logged
    if (given === undefined) throw new Error(`what does this comment speak of? ${line}`)
    claims++
    const check = `told(${given}, ${said.replaceAll('…', 'MORE')})`
    return logged === undefined ? `${statement}; ${check}` : check
  })
  return { code: `import { MORE, told } from '${told}'\n${lines.join('\n')}`, claims }
}
