// Owns what `lemnis chunkserver list` and `show` say.

import type { Chunkserver } from '../../format/control/parts.ts'
import { CommandError } from '../cli/failure.ts'
import type { Io } from '../cli/io.ts'
import { allChunkservers, allCopysets } from '../cli/pages.ts'
import type { Session } from '../cli/session.ts'
import { ago, share, size } from '../cli/words.ts'
import { chunkserverTable, stateText } from './chunkserver-text.ts'

export async function list(session: Session): Promise<void> {
  const chunkservers = await allChunkservers(session)
  const nowMs = session.env.clock.wallMs()
  session.io.result(chunkservers, () => chunkserverTable(session.io, chunkservers, nowMs))
}

/** What is out of the ordinary, with figures and since when. */
function remarks({ draining, slow, recovery }: Chunkserver, nowMs: number): [string, string][] {
  const rows: [string, string][] = []
  if (slow !== undefined) rows.push(['slow', `${slow.says}, since ${ago(slow.sinceMs, nowMs)}`])
  if (draining !== undefined) {
    const why = draining.why === 'asked' ? 'as it was asked to' : 'because it is slow'
    rows.push(['draining', `${why}, since ${ago(draining.sinceMs, nowMs)}`])
  }
  if (recovery !== undefined && recovery.sentBytesPerSecond + recovery.receivedBytesPerSecond > 0) {
    const { limitBytesPerSecond, sentBytesPerSecond, receivedBytesPerSecond } = recovery
    const now = `sends ${size(sentBytesPerSecond)}/s, takes in ${size(receivedBytesPerSecond)}/s`
    rows.push(['recovery', `${now}, at most ${size(limitBytesPerSecond)}/s each`])
  }
  return rows
}

function facts(io: Io, one: Chunkserver, copysets: readonly number[], nowMs: number): string {
  const { disk, io: traffic } = one
  const { usedBytes, capacityBytes, errors, badBlocks, repairedBlocks } = disk
  const space = `${size(usedBytes)} of ${size(capacityBytes)}, ${share(usedBytes, capacityBytes)}`
  const leads = `leads ${one.leaders}, ${one.damaged} damaged, scatter width ${one.scatterWidth}`
  return io.facts([
    ['id', String(one.id)],
    ['state', `${stateText(io, one)}, heard ${ago(one.lastHeartbeatMs, nowMs)}`],
    ...remarks(one, nowMs),
    ['address', `${one.address}, HTTP ${one.httpAddress || '-'}, version ${one.version}`],
    ['place', `pool ${one.pool}, zone ${one.zone}, server ${one.server}`],
    ['space', space],
    [
      'disk',
      `${disk.state}, ${errors} errors, ${badBlocks} bad blocks, ${repairedBlocks} repaired`,
    ],
    ['write p99', disk.writeP99Us === 0 ? '-' : `${(disk.writeP99Us / 1000).toFixed(2)} ms`],
    ['reads', `${traffic.reads}, ${size(traffic.readBytes)}`],
    ['writes', `${traffic.writes}, ${size(traffic.writtenBytes)}`],
    ['copysets', `${one.copysets}: ${leads}`],
    ['', copysets.join(' ')],
  ])
}

export async function show(session: Session, id: number): Promise<void> {
  const found = (await allChunkservers(session)).find((one) => one.id === id)
  if (found === undefined) {
    throw new CommandError(
      `There is no chunkserver ${id}.`,
      'See `lemnis chunkserver list` for those that have registered.',
    )
  }
  const copysets = (await allCopysets(session, []))
    .filter(({ members }) => members.some(({ chunkserver }) => chunkserver === id))
    .map((copyset) => copyset.id)
  const nowMs = session.env.clock.wallMs()
  session.io.result({ ...found, copysetIds: copysets }, () =>
    facts(session.io, found, copysets, nowMs),
  )
}
