// Owns the screen of `lemnis status`: 24 lines of 80 characters are enough for a cluster that is well and
// for most that are not; what does not fit is a command away, which is named.

import type { Status } from '../../format/control/mds.ts'
import type { Operator } from '../../format/control/operators.ts'
import type { Colour, Io } from '../cli/io.ts'
import type { IoNow } from '../cli/io-now.ts'
import type { MdsFacts } from '../cli/roles.ts'
import { counted, share, size, wrap } from '../cli/words.ts'
import { movesText, movingTable } from './status-moves.ts'
import { counts, daysText, fillText } from './topology-text.ts'

export type ShownStatus = Status & {
  readonly mds: MdsFacts | null
  readonly io: IoNow | null
  /** The first of those under way. */
  readonly underWay: readonly Operator[]
  /** Chunkservers that empty themselves. */
  readonly draining: readonly number[]
}
type Fact = readonly [string, string]

const COLOUR_OF: Readonly<Record<Status['health']['state'], Colour>> = {
  ok: 'green',
  warning: 'yellow',
  error: 'red',
}
const LINES = 24
/** Reasons beyond these are in `--json`; the worst come first. */
const REASONS_MAX = 5
const POOLS_MAX = 4
const IDS_MAX = 5

function healthFacts(io: Io, { health }: Status, width: number): Fact[] {
  const shown = health.reasons.slice(0, REASONS_MAX).flatMap((reason) => wrap(reason, width))
  const more = health.reasons.length - REASONS_MAX
  if (more > 0) shown.push(`... and ${counted(more, 'more reason', 'more reasons')}: see --json`)
  return [
    ['health', io.paint(COLOUR_OF[health.state], health.state)],
    ...shown.map((line) => ['', line] as const),
  ]
}

function mdsText({ mds, httpAddress }: ShownStatus): string {
  if (mds === null) return httpAddress ?? 'one MDS'
  const leader = mds.leader?.name ?? mds.name
  const others = mds.candidates.map(({ name }) => name).filter((name) => name !== leader)
  if (mds.store === 'embedded') return `${leader}, on its embedded store; nobody stands by`
  return `${leader} leads; ${others.length === 0 ? 'nobody stands' : `${others.join(', ')} stand`} by`
}

function ioText(io: IoNow | null): string {
  if (io === null) return 'no chunkserver could be asked'
  const { readsPerSecond, writesPerSecond, readBytesPerSecond, writtenBytesPerSecond } = io
  const reads = `${readsPerSecond} reads/s (${size(readBytesPerSecond)}/s)`
  return `${reads}, ${writesPerSecond} writes/s (${size(writtenBytesPerSecond)}/s)`
}

function spaceFacts(io: Io, { usedBytes, capacityBytes, pools = [] }: Status): Fact[] {
  const used = `${size(usedBytes)} of ${size(capacityBytes)} used, ${share(usedBytes, capacityBytes)}`
  const filling = pools.filter(({ level, daysLeft }) => level !== 'ok' || daysLeft !== undefined)
  const lines = filling.slice(0, POOLS_MAX).map(({ name, level, fullestPercent, daysLeft }) => {
    const days = daysText(daysLeft)
    const says = [`fullest disk ${fullestPercent} %`, fillText(io, level)]
    return `${name}: ${[...says, ...(days === '' ? [] : [days])].join(', ')}`
  })
  return [['space', used], ...lines.map((line) => ['', line] as const)]
}

function chunkserversText({ chunkservers, slow = [], draining }: ShownStatus): string {
  const some = (what: string, ids: readonly number[]): string =>
    ids.length === 0
      ? ''
      : `; ${what}: ${ids.slice(0, IDS_MAX).join(' ')}${ids.length > IDS_MAX ? ' ...' : ''}`
  return `${counts(chunkservers)}${some('slow', slow)}${some('draining', draining)}`
}

export function statusText(io: Io, status: ShownStatus, nowMs: number, width = 80): string {
  const { copysets, guard, volumes, deletedVolumes } = status
  const { total, ...copysetStates } = copysets
  const facts: Fact[] = [
    ['cluster', `${status.clusterId}, version ${status.version}`],
    ...healthFacts(io, status, width - 'chunkservers  '.length),
    ['metadata', mdsText(status)],
    ['chunkservers', chunkserversText(status)],
    ['copysets', total === 0 ? 'none' : counts(copysetStates)],
    ['volumes', `${volumes}, and ${deletedVolumes} in the recycle bin`],
    ...spaceFacts(io, status),
    ['I/O now', ioText(status.io)],
    ['moves', movesText(status, nowMs)],
    ...(guard === undefined ? [] : wrap(guard, width - 14).map((line) => ['', line] as const)),
  ]
  // One line is the prompt's.
  const linesLeft = LINES - 1 - facts.length
  return [io.facts(facts), ...movingTable(io, status.underWay, linesLeft, nowMs)].join('\n')
}
