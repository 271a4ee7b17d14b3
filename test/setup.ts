/** Before every suite: under CI properties try the same values each time, so that a change fails for what it changed. */
import fc from 'fast-check'

if (process.env.CI) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 250712145 })
