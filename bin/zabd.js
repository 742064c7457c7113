#!/usr/bin/env node
// The command `zabd`: starts the compiled program, or says how to compile it.
import { existsSync } from 'node:fs'

const program = new URL('../dist/src/cli/main.js', import.meta.url)
if (existsSync(program)) {
  const { main } = await import(program.href)
  await main(process.argv.slice(2))
} else {
  console.error('zabd: the program is not compiled: run "npm run build" in its directory, once')
  process.exitCode = 1
}
