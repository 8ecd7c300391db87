// Owns `lemnis status`: how the cluster is, on one screen.

import type { Command } from 'commander'
import { STATUS, type Status } from '../../format/control/mds.ts'
import type { Colour, Io } from '../cli/io.ts'
import { asking, declare } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { ago, share, size } from '../cli/words.ts'

const COLOUR_OF: Readonly<Record<Status['health']['state'], Colour>> = {
  ok: 'green',
  warning: 'yellow',
  error: 'red',
}

/** `3 online, 1 offline`: what there is none of is not mentioned, except for the first. */
function counts(of: Readonly<Record<string, number>>): string {
  return Object.entries(of)
    .filter(([, count], i) => i === 0 || count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ')
}

export function statusText(io: Io, status: Status, nowMs: number): string {
  const { health, copysets } = status
  const { total, ...copysetStates } = copysets
  const used = `${size(status.usedBytes)} of ${size(status.capacityBytes)}`
  const lines = [
    io.facts([
      ['cluster', `${status.clusterId}, version ${status.version}`],
      ['health', io.paint(COLOUR_OF[health.state], health.state)],
      ...health.reasons.map((reason) => ['', reason] as const),
      ['chunkservers', counts(status.chunkservers)],
      ['copysets', total === 0 ? 'none' : counts(copysetStates)],
      ['volumes', `${status.volumes}, and ${status.deletedVolumes} in the recycle bin`],
      ['space', `${used} used, ${share(status.usedBytes, status.capacityBytes)}`],
    ]),
  ]
  if (status.moving.length > 0) {
    const rows = status.moving.map(({ copyset, what, why, sinceMs }) => [
      String(copyset),
      what,
      why,
      ago(sinceMs, nowMs),
    ])
    lines.push('', io.table(['COPYSET', 'MOVES', 'BECAUSE', 'SINCE'], rows))
  }
  return lines.join('\n')
}

async function show(session: Session): Promise<boolean> {
  const status = await session.ask(STATUS, {})
  session.io.result(status, () => statusText(session.io, status, session.env.clock.wallMs()))
  return status.health.state === 'error'
}

export function addStatusCommand(program: Command): void {
  declare(
    program,
    'status',
    'how the cluster is; exit code 1 when data can not be served',
    'status',
  ).action(asking(show))
}
