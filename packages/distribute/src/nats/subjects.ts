/** Where what is said: `prismal.GROUP.…`. Groups do not see each other. */
import { InputError } from '@prismal/models'

export const DEFAULT_GROUP = 'default'

/** The subjects of a group. Throws `InputError` for a name that is none: letters, digits, `-` and `_`, at most 64. */
export function subjectsOf(group = DEFAULT_GROUP) {
  token('group', group)
  const base = `prismal.${group}`
  return {
    group,
    /** Devices tell of themselves. */
    here: `${base}.here`,
    /** Asks who is there. */
    who: `${base}.who`,
    /** Where a device takes connections. */
    device: (id: string): string => `${base}.device.${token('id', id)}`,
    /** Requests of a task, to one of those that serve it. */
    run: (task: string): string => `${base}.run.${token('task', task)}`,
    /** Answered by those that serve a task, busy or not. */
    serving: (task: string): string => `${base}.serving.${token('task', task)}`,
    /** Those that serve a task tell that they have room again. */
    free: (task: string): string => `${base}.free.${token('task', task)}`,
  } as const
}
export type Subjects = ReturnType<typeof subjectsOf>

function token(what: string, text: string): string {
  if (typeof text !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(text))
    throw new InputError(`${what} is ${JSON.stringify(text)}: letters, digits, - and _ make one, at most 64`)
  return text
}
