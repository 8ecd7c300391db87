// Owns `lemnis waits`: what waits longer than a second anywhere, asked of the HTTP port of every role
// that the cluster knows: the MDS, the chunkservers, and those that have volumes open.

import type { Command } from 'commander'
import { LIST_CHUNKSERVERS, STATUS } from '../../format/control/mds.ts'
import type { Wait } from '../../platform/http.ts'
import type { Io } from '../cli/io.ts'
import { asking, declare } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { duration } from '../cli/words.ts'
import { httpOfHolder } from '../roles/holder.ts'
import { allVolumes } from './volume-list.ts'

const ASK_MS = 3000

export interface Answer {
  readonly server: string
  readonly waits: readonly Wait[]
  /** Why it could not be asked. */
  readonly unreachable?: string
}

async function askOne(server: string, address: string): Promise<Answer> {
  try {
    const reply = await fetch(`http://${address}/debug/waits`, {
      signal: AbortSignal.timeout(ASK_MS),
    })
    const { waits } = (await reply.json()) as { waits: readonly Wait[] }
    return { server, waits }
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    return {
      server,
      waits: [],
      unreachable: cause instanceof Error ? cause.message : String(cause),
    }
  }
}

export function waitsText(io: Io, answers: readonly Answer[]): string {
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
  const [status, { chunkservers }, volumes] = await Promise.all([
    session.ask(STATUS, {}),
    session.ask(LIST_CHUNKSERVERS, {}),
    allVolumes(session, false),
  ])
  const servers = new Map<string, string>()
  if (status.httpAddress !== undefined) servers.set(status.httpAddress, 'mds')
  for (const { id, httpAddress, state } of chunkservers) {
    if (httpAddress !== '' && state !== 'retired') servers.set(httpAddress, `chunkserver ${id}`)
  }
  for (const { holder } of volumes) {
    const address = holder === undefined ? null : httpOfHolder(holder.address)
    if (address !== null) servers.set(address, `client ${address}`)
  }
  const answers = await Promise.all(
    [...servers].map(([address, server]) => askOne(server, address)),
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
