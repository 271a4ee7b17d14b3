/**
 * Before every suite: under CI, and where PROPERTY_SEED says so, properties try the same values each time, so that a change
 * fails for what it changed.
 */
import fc from 'fast-check'

const seed = process.env.PROPERTY_SEED ?? (process.env.CI && '250712145')
if (seed) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) })
