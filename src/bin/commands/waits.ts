// Owns `lemnis waits`: what waits longer than a second anywhere, asked of the HTTP port of every role
// that the cluster knows: the MDS, the chunkservers, and those that have volumes open.

import type { Command } from 'commander'
import type { Wait } from '../../platform/http.ts'
import { askEach, askJson } from '../cli/http.ts'
import type { Io } from '../cli/io.ts'
import { asking, declare } from '../cli/program.ts'
import { httpRoles } from '../cli/roles.ts'
import type { Session } from '../cli/session.ts'
import { duration } from '../cli/words.ts'

interface Answer {
  readonly server: string
  readonly waits: readonly Wait[]
  /** Why it could not be asked. */
  readonly unreachable?: string
}

function waitsText(io: Io, answers: readonly Answer[]): string {
  const rows = answers.flatMap(({ server, waits }) =>
    waits
      .toSorted((a, b) => b.lastsMs - a.lastsMs)
      .map(({ what, waitsFor, lastsMs }) => [server, what, duration(lastsMs), waitsFor]),
  )
  const lines = rows.length > 0 ? [io.table(['WHERE', 'WHAT', 'WAITS', 'FOR'], rows)] : []
  for (const { server, unreachable } of answers) {
    if (unreachable !== undefined) lines.push(`${server} could not be asked: ${unreachable}`)
  }
  return lines.join('\n') || `Nothing waits; ${answers.length} servers were asked.`
}

async function show(session: Session): Promise<void> {
  const asked = await askEach(await httpRoles(session), ({ http }) =>
    askJson<{ readonly waits: readonly Wait[] }>(http, '/debug/waits'),
  )
  const answers: Answer[] = asked.map(({ role, answer, why }) =>
    answer === null
      ? { server: role.name, waits: [], unreachable: why }
      : { server: role.name, waits: answer.waits },
  )
  session.io.result(answers, () => waitsText(session.io, answers))
}

export function addWaitsCommand(program: Command): void {
  declare(
    program,
    'waits',
    'what waits longer than a second anywhere, and for what',
    'waits',
  ).action(asking(show))
}
