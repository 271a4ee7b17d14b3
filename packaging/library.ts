/**
 * What every package's build has in common: ESM for ES2022, no bundled dependencies but those that it names, code without
 * spaces and short local names. Names of functions and classes stay, for stack traces. Types are made by types.ts.
 * While working, `npx tsup --no-minify --sourcemap` gives code that can be read.
 */
import { defineConfig, type Options } from 'tsup'
import { writeLicences } from './licences.js'

interface LibraryOptions extends Options {
  /** Dependencies that are bundled, since little of them is used; their licences come along. */
  readonly bundled?: readonly string[]
  /** Puts files that are no modules into dist. */
  readonly copyFiles?: () => void
}

export const library = ({ bundled = [], copyFiles, ...options }: LibraryOptions) =>
  defineConfig({
    format: 'esm',
    target: 'es2022',
    dts: false,
    minify: 'terser',
    terserOptions: {
      module: true,
      compress: { module: false, toplevel: false, passes: 2, sequences: false },
      // Names at the top are those that a stack trace and an error's `name` have.
      mangle: { module: false, toplevel: false },
      keep_fnames: true,
      keep_classnames: true,
      // Lines end where statements do: Node prints the line that threw, and may end before a pipe took a long one.
      format: {
        semicolons: false,
        max_line_len: 500,
        preserve_annotations: true,
        // Those that bundlers read.
        comments: /@vite-ignore|webpackIgnore|@license|^!/,
      },
    },
    clean: true,
    splitting: true,
    treeshake: true,
    removeNodeProtocol: false,
    noExternal: bundled.map(name => new RegExp(`^${name}($|/)`)),
    onSuccess: async () => {
      copyFiles?.()
      writeLicences(bundled)
    },
    ...options,
  })
