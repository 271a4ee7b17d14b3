/** Options that a task does not go by are refused: nobody types one to have it ignored. */
import { type Command, InvalidArgumentError } from 'commander'

/** Parses a name that is one of these. */
export const oneOf =
  <Name extends string>(names: readonly Name[], what: string) =>
  (text: string): Name => {
    if (!names.includes(text as Name)) throw new InvalidArgumentError(`${what} are ${names.join(', ')}.`)
    return text as Name
  }

export const isGiven = (command: Command, name: string): boolean => command.getOptionValueSource(name) === 'cli'

/** Ends the command where options were given that are for other tasks; `tasksOf` has those that are not for all. */
export function expectFitting(
  command: Command,
  task: string,
  tasksOf: Readonly<Record<string, readonly string[]>>,
): void {
  for (const [name, tasks] of Object.entries(tasksOf)) {
    if (!isGiven(command, name) || tasks.includes(task)) continue
    // `--topk` and `--top-k` are taken for each other.
    const alike = Object.keys(tasksOf).find(
      other => other.toLowerCase() === name.toLowerCase() && tasksOf[other]?.includes(task),
    )
    const hint = alike ? `, which has ${longName(command, alike)}` : ''
    command.error(`error: ${longName(command, name)} is for ${tasks.join(', ')}, not for ${task}${hint}`)
  }
}

/** `--min-tokens` of `minTokens`. */
export const longName = (command: Command, name: string): string =>
  command.options.find(option => option.attributeName() === name)?.long ?? name
