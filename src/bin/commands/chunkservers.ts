// Owns the commands that look at chunkservers.

import type { Command } from 'commander'
import { LIST_CHUNKSERVERS, LIST_COPYSETS } from '../../format/control/mds.ts'
import type { Chunkserver } from '../../format/control/parts.ts'
import { CommandError } from '../cli/failure.ts'
import type { Io } from '../cli/io.ts'
import { asking, declare } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { ago, countArgument, share, size } from '../cli/words.ts'

function stateText(io: Io, { state, disk }: Chunkserver): string {
  if (disk.state === 'failed') return io.paint('red', 'disk failed')
  if (state === 'online') return disk.state === 'full' ? io.paint('yellow', 'full') : state
  return io.paint(state === 'unstable' ? 'yellow' : 'red', state)
}

export function chunkserverTable(
  io: Io,
  chunkservers: readonly Chunkserver[],
  nowMs: number,
): string {
  if (chunkservers.length === 0) return 'No chunkserver has registered yet.'
  return io.table(
    ['ID', 'STATE', 'ZONE', 'SERVER', 'ADDRESS', 'USED', 'OF', 'COPYSETS', 'LEADS', 'HEARD'],
    chunkservers.map((one) => [
      String(one.id),
      stateText(io, one),
      one.zone,
      one.server,
      one.address,
      size(one.disk.usedBytes),
      size(one.disk.capacityBytes),
      String(one.copysets),
      String(one.leaders),
      ago(one.lastHeartbeatMs, nowMs),
    ]),
  )
}

async function list(session: Session): Promise<void> {
  const { chunkservers } = await session.ask(LIST_CHUNKSERVERS, {})
  const nowMs = session.env.clock.wallMs()
  session.io.result(chunkservers, () => chunkserverTable(session.io, chunkservers, nowMs))
}

function facts(io: Io, one: Chunkserver, copysets: readonly number[], nowMs: number): string {
  const { disk, io: traffic } = one
  return io.facts([
    ['id', String(one.id)],
    ['state', `${stateText(io, one)}, heard ${ago(one.lastHeartbeatMs, nowMs)}`],
    ['address', `${one.address}, HTTP ${one.httpAddress || '-'}, version ${one.version}`],
    ['place', `pool ${one.pool}, zone ${one.zone}, server ${one.server}`],
    [
      'space',
      `${size(disk.usedBytes)} of ${size(disk.capacityBytes)}, ${share(disk.usedBytes, disk.capacityBytes)}`,
    ],
    [
      'disk',
      `${disk.state}, ${disk.errors} errors, ${disk.badBlocks} bad blocks, ${disk.repairedBlocks} repaired`,
    ],
    ['write p99', `${(disk.writeP99Us / 1000).toFixed(2)} ms`],
    ['reads', `${traffic.reads}, ${size(traffic.readBytes)}`],
    ['writes', `${traffic.writes}, ${size(traffic.writtenBytes)}`],
    [
      'copysets',
      `${one.copysets}: leads ${one.leaders}, ${one.damaged} damaged, scatter width ${one.scatterWidth}`,
    ],
    ['', copysets.join(' ')],
  ])
}

async function show(session: Session, id: number): Promise<void> {
  const { chunkservers } = await session.ask(LIST_CHUNKSERVERS, {})
  const found = chunkservers.find((one) => one.id === id)
  if (found === undefined) {
    throw new CommandError(
      `There is no chunkserver ${id}.`,
      'See `lemnis chunkserver list` for those that have registered.',
    )
  }
  const all = await session.ask(LIST_COPYSETS, { ids: [] })
  const copysets = all.copysets
    .filter(({ members }) => members.some(({ chunkserver }) => chunkserver === id))
    .map((copyset) => copyset.id)
  const nowMs = session.env.clock.wallMs()
  session.io.result({ ...found, copysetIds: copysets }, () =>
    facts(session.io, found, copysets, nowMs),
  )
}

/** `parent` is the role's own command: `lemnis chunkserver` runs one, with a word after it looks. */
export function addChunkserverCommands(parent: Command): void {
  declare(parent, 'list', 'all, with their state and space', 'chunkserver list').action(
    asking(list),
  )
  declare(parent, 'show <id>', 'one, with its disk and traffic', 'chunkserver show 2').action(
    asking((session: Session, id: string) => show(session, countArgument(id))),
  )
}
