// Owns `lemnis check`: each check with its rows and one verdict, for people and for scripts.

import type { Command } from 'commander'
import { asLemnisError, ERRORS } from '../../base/errors.ts'
import { CommandError } from '../cli/failure.ts'
import { type Checked, checkedText, EXIT_OF, type Outcome, worst } from '../cli/outcome.ts'
import { asking, choice, declare } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { checkChunkservers } from './check-chunkservers.ts'
import { checkClocks } from './check-clocks.ts'
import { checkCopysets } from './check-copysets.ts'
import { checkDisks } from './check-disks.ts'
import { checkMetastore } from './check-metastore.ts'
import { checkOperators } from './check-operators.ts'

const CHECKS: Readonly<Record<string, (session: Session) => Promise<Outcome>>> = {
  chunkservers: checkChunkservers,
  copysets: checkCopysets,
  operators: checkOperators,
  metastore: checkMetastore,
  clocks: checkClocks,
  disks: checkDisks,
}

const HELP = `
Exit codes, the worst of all checks:
  0  ok
  1  a warning: all data is served, and something should be looked at, as a process that does not answer
  2  an error: data is not served, or will not be for long
  3  something could not be checked, as no metadata server answers`

/** Longer than any part of a check waits for one that hangs. */
const LIMIT_MS = 20_000

const OVERDUE: Outcome = {
  level: 'unknown',
  says: `It did not end within ${LIMIT_MS / 1000} s; another check may say why.`,
  head: [],
  rows: [],
}

function withinLimit({ env }: Session, work: Promise<Outcome>): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const timer = env.clock.after(LIMIT_MS, () => resolve(OVERDUE))
    void work.then(resolve, reject).finally(() => timer.cancel())
  })
}

/** What can't be asked is no reason to leave out the other checks. */
async function runOne(session: Session, name: string): Promise<Checked> {
  const check = CHECKS[name] as (session: Session) => Promise<Outcome>
  try {
    return { check: name, ...(await withinLimit(session, check(session))) }
  } catch (thrown) {
    const says = thrown instanceof CommandError ? thrown.message : sentence(thrown)
    return { check: name, level: 'unknown', says, head: [], rows: [] }
  }
}

function sentence(thrown: unknown): string {
  const { code } = asLemnisError(thrown)
  return `${ERRORS[code].says} ${ERRORS[code].cure}`
}

async function check(session: Session, names: readonly string[]): Promise<void> {
  const wanted = names.length === 0 ? Object.keys(CHECKS) : [...new Set(names)]
  // At once: one that waits for somebody who hangs does not hold up the others.
  const all = await Promise.all(wanted.map((name) => runOne(session, name)))
  const level = worst(all.map((one) => one.level))
  session.io.result({ level, checks: all }, () => checkedText(session.io, all, names.length > 0))
  process.exitCode = EXIT_OF[level]
}

export function addCheckCommand(program: Command): void {
  declare(
    program,
    'check',
    'whether everything is well; for scripts by its exit code',
    'check copysets disks',
  )
    .addArgument(choice('[what...]', Object.keys(CHECKS)))
    .addHelpText('after', HELP)
    .action(asking(check))
}
