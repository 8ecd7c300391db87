// Owns `lemnis status`: how the cluster is, on one screen.

import type { Command } from 'commander'
import { orNull } from '../../client/mds-caller.ts'
import { STATUS } from '../../format/control/mds.ts'
import { LIST_OPERATORS, type Operator } from '../../format/control/operators.ts'
import { askIo } from '../cli/io-now.ts'
import { allChunkservers } from '../cli/pages.ts'
import { asking, declare } from '../cli/program.ts'
import { askMds } from '../cli/roles.ts'
import type { Session } from '../cli/session.ts'
import { statusText } from './status-text.ts'

async function show(session: Session): Promise<boolean> {
  const { io, env } = session
  const status = await session.ask(STATUS, {})
  const mds = await askMds(session)
  // What else is on the screen is worth showing without these.
  const chunkservers = (await allChunkservers(session).catch(orNull)) ?? []
  const draining = chunkservers.filter(
    (one) => one.draining !== undefined && one.state !== 'retired',
  )
  const moves = await session.ask(LIST_OPERATORS, { state: 'active' }).catch(orNull)
  const ioNow = await askIo(session, chunkservers)
  const shown = { ...status, mds, io: ioNow, draining: draining.map(({ id }) => id) }
  const begun = ({ state }: Operator): number => Number(state === 'ongoing')
  const underWay = (moves?.operators ?? []).toSorted((a, b) => begun(b) - begun(a))
  io.result(shown, () => statusText(io, { ...shown, underWay }, env.clock.wallMs()))
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
