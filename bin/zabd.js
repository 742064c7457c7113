#!/usr/bin/env node
// The command `zabd`: starts the built program, or says how to build it.
import { loadProgram } from './program.js'

const program = loadProgram()
if (program !== undefined) {
  await program.exports.main(process.argv.slice(2))
} else {
  console.error('zabd: the program is not compiled: run "npm run build" in its directory, once')
  process.exitCode = 1
}
