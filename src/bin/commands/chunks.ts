// Owns `lemnis chunk locate`: where a byte of a volume lies.

import type { Command } from 'commander'
import { LemnisError } from '../../base/errors.ts'
import { Layout } from '../../client/layout.ts'
import { SEGMENT_BYTES } from '../../format/chunk-request.ts'
import { GET_SEGMENTS, LIST_COPYSETS, SHOW_VOLUME } from '../../format/control/mds.ts'
import type { Copyset } from '../../format/control/parts.ts'
import type { Io } from '../cli/io.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { offsetArgument } from '../cli/words.ts'

interface Place {
  readonly segment: number
  readonly chunkIndex: number
  readonly chunkOffset: number
  /** Null while nothing was ever written to the segment. */
  readonly chunk: number | null
  readonly copyset: Copyset | null
}

function placeText(io: Io, name: string, offset: number, place: Place): string {
  const { segment, chunkIndex, chunkOffset, chunk, copyset } = place
  const facts: [string, string][] = [
    ['volume', `${name}, byte ${offset}`],
    ['segment', `${segment}, chunk ${chunkIndex} of it, byte ${chunkOffset} of that`],
  ]
  if (chunk === null || copyset === null) {
    return io.facts([...facts, ['chunk', 'none yet: nothing was written there, it reads as zeros']])
  }
  facts.push(['chunk', String(chunk)], ['copyset', `${copyset.id}, ${copyset.health}`])
  const rows = copyset.members.map((member) => [
    String(member.chunkserver),
    member.chunkserver === copyset.leader ? 'leader' : 'follower',
    member.zone,
    member.address,
  ])
  return `${io.facts(facts)}\n\n${io.table(['CHUNKSERVER', 'ROLE', 'ZONE', 'ADDRESS'], rows)}`
}

async function locate(session: Session, name: string, offset: number): Promise<void> {
  const volume = await session.ask(SHOW_VOLUME, { name })
  if (offset >= volume.sizeBytes) {
    throw new LemnisError('INVALID_ARGUMENT', { offset, sizeBytes: volume.sizeBytes })
  }
  const layout = new Layout(volume.stripeUnitBytes, volume.stripeCount)
  const [piece] = layout.pieces(offset, 1, SEGMENT_BYTES)
  if (piece === undefined) throw new LemnisError('INVALID_ARGUMENT', { offset })
  const { segment, chunkIndex, chunkOffset } = piece
  const { segments } = await session.ask(GET_SEGMENTS, {
    volume: volume.id,
    epoch: volume.epoch,
    from: segment,
    to: segment + 1,
    allocate: false,
  })
  const found = segments.find(({ index }) => index === segment)
  const group = found?.groups[chunkIndex]
  const copysets =
    group === undefined ? [] : (await session.ask(LIST_COPYSETS, { ids: [group] })).copysets
  const place: Place = {
    segment,
    chunkIndex,
    chunkOffset,
    chunk: found === undefined ? null : found.firstChunk + chunkIndex,
    copyset: copysets[0] ?? null,
  }
  session.io.result(place, () => placeText(session.io, name, offset, place))
}

export function addChunkCommands(program: Command): void {
  const chunk = family(program, 'chunk', 'where data lies')
  declare(
    chunk,
    'locate <volume> <offset>',
    'the copyset and servers of one byte',
    'chunk locate disk1 3GiB',
  ).action(
    asking((session: Session, name: string, offset: string) =>
      locate(session, name, offsetArgument(offset)),
    ),
  )
}
