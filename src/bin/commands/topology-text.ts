// Owns how sets of chunkservers are shown to people: how many are there, and how full they are.

import type { FillLevel } from '../../format/control/parts.ts'
import type { PresenceCounts, Server, Zone } from '../../format/control/topology.ts'
import type { Colour, Io } from '../cli/io.ts'
import { counted, share, size } from '../cli/words.ts'

interface Present {
  readonly chunkservers: PresenceCounts
  readonly draining: number
  readonly slow: number
}

/** `3 online, 1 offline`: what there is none of is not mentioned, except for the first. */
export function counts(of: Readonly<Record<string, number>>): string {
  return Object.entries(of)
    .filter(([, count], i) => i === 0 || count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ')
}

export function presence(io: Io, { chunkservers, draining, slow }: Present): string {
  const text = counts({ ...chunkservers, draining, slow })
  const isWell = chunkservers.unstable + chunkservers.offline + slow === 0
  return isWell ? text : io.paint(chunkservers.offline > 0 ? 'red' : 'yellow', text)
}

/** The columns of holds(). */
export const HOLDS = ['CHUNKSERVERS', 'USED', 'OF', 'FULL', 'REPLICAS', 'LEADS'] as const

export function holds(io: Io, set: Zone | Server): string[] {
  return [
    presence(io, set),
    size(set.usedBytes),
    size(set.capacityBytes),
    share(set.usedBytes, set.capacityBytes),
    String(set.copysets),
    String(set.leaders),
  ]
}

export function serverTable(io: Io, servers: readonly Server[]): string {
  return io.table(
    ['SERVER', 'ZONE', 'IDS', ...HOLDS],
    servers.map((server) => [server.name, server.zone, server.ids.join(' '), ...holds(io, server)]),
  )
}

export function goneText(place: string, { chunkservers }: { chunkservers: number[] }): string {
  return `${place} is gone; ${counted(chunkservers.length, 'chunkserver')} retired.`
}

const COLOURS: Readonly<Record<FillLevel, Colour | null>> = {
  ok: null,
  near: 'yellow',
  nearly: 'yellow',
  full: 'red',
}
const SAYS: Readonly<Record<FillLevel, string>> = {
  ok: 'ok',
  near: 'filling up',
  nearly: 'nearly full',
  full: 'full',
}

export function fillText(io: Io, level: FillLevel): string {
  const colour = COLOURS[level]
  return colour === null ? SAYS[level] : io.paint(colour, SAYS[level])
}

/** As far as the rate of the last hours says it. */
export function daysText(daysLeft: number | undefined): string {
  if (daysLeft === undefined) return ''
  return daysLeft < 1 ? 'full in less than a day' : `full in about ${Math.floor(daysLeft)} d`
}
