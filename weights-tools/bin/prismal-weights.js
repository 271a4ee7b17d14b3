#!/usr/bin/env node
/** The `prismal-weights` command. npm links a command whose file is there when it installs, so this one is not built. */
import '../dist/cli.js'
