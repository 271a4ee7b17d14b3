/** How many times a property is tried: more where nobody waits for it. */
export const RUNS = process.env.CI ? 1000 : 100
