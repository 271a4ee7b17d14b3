/** The end of a scope as the end of what it holds: `await using`. */

/** What `await using` calls, where the runtime has it. */
export const disposal = (dispose: () => Promise<void>): { [Symbol.asyncDispose]?: () => Promise<void> } =>
  Symbol.asyncDispose ? { [Symbol.asyncDispose]: dispose } : {}
