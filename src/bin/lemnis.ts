// The program `lemnis`: every role and every command.

import { runProgram } from './cli/run-program.ts'
import { makeLemnis } from './commands/all.ts'

const words = process.argv.slice(2)
await runProgram(await makeLemnis(words), words)
