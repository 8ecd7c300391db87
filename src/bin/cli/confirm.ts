// Owns the question before something that can not be undone.

import { createInterface } from 'node:readline/promises'
import { CommandError } from './failure.ts'

/** Whether a person says yes; without a terminal nobody can. */
export async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new CommandError(
      `${question} There is no terminal to ask, so nothing was changed.`,
      'Repeat it with --yes if you mean it.',
    )
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${question} [y/N] `)
  terminal.close()
  return /^y(es)?$/i.test(answer.trim())
}
