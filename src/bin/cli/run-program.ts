// Owns the run of a command line and its exit code.

import { type Command, CommanderError } from 'commander'
import { EXIT, reportFailure } from './failure.ts'
import { Io } from './io.ts'

/** Runs the command line; the exit code is in process.exitCode. */
export async function runProgram(program: Command, words: readonly string[]): Promise<void> {
  try {
    await program.parseAsync(words, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage
      return
    }
    process.exitCode = reportFailure(Io.ofProcess(words.includes('--json')), error)
  }
}
