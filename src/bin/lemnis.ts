// The program `lemnis`: every role and every command.

import { runProgram } from './cli/run-program.ts'
import { makeLemnis } from './commands/all.ts'

await runProgram(makeLemnis(), process.argv.slice(2))
