// Owns the judgement of a cluster in sentences: each says what is, what it means for the data, and
// what helps. A function of counts and lists; nothing here asks or decides.

import type { ReplyOf } from '../format/control/call.ts'
import type { PoolFill, STATUS } from '../format/control/mds.ts'
import type { Slow } from '../format/control/parts.ts'
import type { Guard } from '../placement/guard.ts'
import type { Obstacle } from '../placement/operator.ts'
import type { CopysetHealth } from './cluster-view.ts'

export interface ChunkserverFacts {
  readonly id: number
  readonly state: 'online' | 'unstable' | 'offline' | 'retired'
  /** Its disk failed, or another one answers in its place. */
  readonly isLost: boolean
  readonly isFull: boolean
  readonly badBlocks: number
  readonly repairedBlocks: number
  /** Why it counts as slow or sick. */
  readonly slow?: Slow
  readonly isDraining?: boolean
  /** Its pool, where that is not there or leaves its zone out. */
  readonly outside?: string
}

export interface HealthFacts {
  readonly pools: number
  readonly chunkservers: readonly ChunkserverFacts[]
  readonly copysets: Readonly<Record<CopysetHealth, number>>
  readonly founding: number
  readonly guard: Guard
  readonly maintenance: { by: string; reason: string; leftMs: number } | null
  readonly waiting: ReadonlyMap<Obstacle, number>
  readonly fills?: readonly PoolFill[]
  /** Copysets, among the degraded ones, that are whole but for a replica which is far behind. */
  readonly lagging?: { readonly copysets: number; readonly entries: number }
}

export type HealthOf = ReplyOf<typeof STATUS>['health']

/** Ids named in one sentence. */
const NAMED_MAX = 8
const MINUTE_MS = 60_000

export function judge(facts: HealthFacts): HealthOf {
  const errors = [...brokenReasons(facts), ...fullReasons(facts)]
  const warnings = [
    ...poolReasons(facts),
    ...lostReasons(facts),
    ...silentReasons(facts),
    ...slowReasons(facts),
    ...fillReasons(facts),
    ...outsideReasons(facts),
    ...redundancyReasons(facts),
    ...obstacleReasons(facts),
  ]
  const state = errors.length > 0 ? 'error' : warnings.length > 0 ? 'warning' : 'ok'
  return { state, reasons: [...errors, ...warnings] }
}

/** What is, what it means for the data, what helps. */
function sentence(what: string, meaning: string, cure: string): string {
  return `${what}: ${meaning}; ${cure}.`
}

function* brokenReasons({ copysets }: HealthFacts): Generator<string> {
  if (copysets.broken === 0) return
  yield sentence(
    count(copysets.broken, 'copyset has no quorum', 'copysets have no quorum'),
    'I/O to the volumes on them waits, and nothing acknowledged is lost',
    'start the chunkservers that are away (`lemnis chunkserver list`)',
  )
}

function* fullReasons({ chunkservers }: HealthFacts): Generator<string> {
  const full = chunkservers.filter((one) => one.isFull && one.state !== 'retired')
  if (full.length === 0) return
  yield sentence(
    subject(full, 'is full', 'are full'),
    'writes that need new space there wait',
    'delete volumes and empty the trash (`lemnis trash empty`), or add chunkservers',
  )
}

function* poolReasons({ pools, founding }: HealthFacts): Generator<string> {
  if (pools === 0) {
    yield sentence(
      'There is no pool yet',
      'no volume can be made',
      '`lemnis pool create default` makes one',
    )
  }
  if (founding > 0) {
    yield sentence(
      count(founding, 'copyset is still being founded', 'copysets are still being founded'),
      'writes to new volumes may have to wait for it',
      'if it lasts, see that all chunkservers are online (`lemnis chunkserver list`)',
    )
  }
}

function* lostReasons({ chunkservers }: HealthFacts): Generator<string> {
  const lost = chunkservers.filter((one) => one.isLost && one.state !== 'retired')
  if (lost.length > 0) {
    yield sentence(
      subject(lost, 'has lost its disk, or had it replaced', 'have lost their disks'),
      'what they held is rebuilt from the other replicas',
      'start a chunkserver on an empty disk in place of each, where that has not been done',
    )
  }
  const bad = chunkservers.filter((one) => one.badBlocks > one.repairedBlocks)
  if (bad.length > 0) {
    yield sentence(
      subject(bad, 'has blocks that fail their checksum', 'have blocks that fail their checksum'),
      'reads of them are served by the other replicas',
      '`lemnis scrub start` repairs them, and many of them tell of a dying disk',
    )
  }
}

function* silentReasons({ chunkservers }: HealthFacts): Generator<string> {
  const offline = chunkservers.filter((one) => one.state === 'offline' && !one.isLost)
  if (offline.length > 0) {
    yield sentence(
      subject(offline, 'is offline', 'are offline'),
      'the other replicas serve, and what they held is rebuilt where there is a place for it',
      offline.length === 1
        ? 'start it again, or replace its disk'
        : 'start them again, or replace their disks',
    )
  }
  const unstable = chunkservers.filter((one) => one.state === 'unstable' && !one.isLost)
  if (unstable.length > 0) {
    yield sentence(
      subject(unstable, 'has not been heard for a while', 'have not been heard for a while'),
      'the other replicas serve, and nothing is moved yet',
      unstable.length === 1
        ? 'see whether its process and host run'
        : 'see whether their processes and hosts run',
    )
  }
}

function* slowReasons({ chunkservers }: HealthFacts): Generator<string> {
  const all = chunkservers.filter((one) => one.slow !== undefined && one.state !== 'retired')
  for (const { id, slow, isDraining = false } of all.slice(0, NAMED_MAX)) {
    if (slow === undefined) continue
    const fate = isDraining ? 'it is being emptied' : 'it is emptied if that lasts'
    yield sentence(
      `Chunkserver ${id} is ${slow.why === 'errors' ? 'sick' : 'slow'}: ${slow.says}`,
      `it leads nothing and gets nothing new, and ${fate}`,
      `look at its disk; \`lemnis chunkserver clear-slow ${id}\` after it was mended`,
    )
  }
  const more = all.length - NAMED_MAX
  if (more > 0) {
    yield sentence(
      count(more, 'more chunkserver is', 'more chunkservers are') + ' slow or sick',
      'so many at once share a cause',
      'look for what they have in common (`lemnis chunkserver list`)',
    )
  }
}

function* fillReasons({ fills = [] }: HealthFacts): Generator<string> {
  for (const { name, level, fullestPercent, daysLeft } of fills) {
    if (level !== 'near' && level !== 'nearly') continue
    const days = daysLeft === undefined ? '' : `, at the present rate in some ${daysLeft} days`
    yield sentence(
      `Pool ${name} is filling up: its fullest chunkserver is used to ${fullestPercent} %`,
      `writes of new data stop when it is full${days}`,
      'add chunkservers to the pool, or delete volumes and empty the trash',
    )
  }
}

function* outsideReasons({ pools, chunkservers }: HealthFacts): Generator<string> {
  if (pools === 0) return
  const outside = chunkservers.filter((one) => one.outside !== undefined && one.state !== 'retired')
  const [first] = outside
  if (first === undefined) return
  yield sentence(
    subject(outside, 'takes part in no pool', 'take part in no pool'),
    'nothing is stored there',
    `make pool ${first.outside} with their zones, or start them with another --pool`,
  )
}

function* redundancyReasons({ copysets, lagging }: HealthFacts): Generator<string> {
  const { unknown } = copysets
  const behind = lagging?.copysets ?? 0
  const degraded = copysets.degraded - behind
  if (lagging !== undefined && behind > 0) {
    yield sentence(
      count(behind, 'copyset has a replica', 'copysets have a replica') +
        ` that is up to ${lagging.entries} entries behind and catches up`,
      'everything is served, but another failure may stop I/O until it has',
      'if it lasts, look at the disk and the network of its chunkserver',
    )
  }
  if (degraded > 0) {
    yield sentence(
      count(degraded, 'copyset is a replica short', 'copysets are a replica short'),
      'everything is served, but another failure may stop I/O',
      'start what is away, or add chunkservers',
    )
  }
  if (unknown > 0) {
    yield sentence(
      count(unknown, 'copyset has no known leader yet', 'copysets have no known leader yet'),
      'I/O to them goes on as soon as one is elected',
      'wait some seconds, then look at `lemnis copyset list`',
    )
  }
}

function* obstacleReasons({ guard, maintenance, waiting }: HealthFacts): Generator<string> {
  const { zonesAway, reasons, away, expected } = guard
  if (maintenance !== null) {
    const { by, reason, leftMs } = maintenance
    const minutes = Math.ceil(leftMs / MINUTE_MS)
    yield sentence(
      `Maintenance by ${by} (${reason}) for another ${count(minutes, 'minute', 'minutes')}`,
      'nothing is rebuilt or moved, whatever goes away',
      '`lemnis maintenance off` ends it',
    )
  }
  if (reasons.includes('many-away') && zonesAway.length === 0) {
    yield sentence(
      `${away} of ${expected} chunkservers are silent`,
      'so many come back together, so nothing is rebuilt or moved',
      'start them, or remove those that will not come back (`lemnis chunkserver drain`)',
    )
  }
  if (zonesAway.length > 0) {
    const zones = zonesAway.join(', ')
    yield sentence(
      zonesAway.length === 1 ? `Zone ${zones} is away as a whole` : `Zones ${zones} are away`,
      'nothing is rebuilt, and what has a quorum is served by the others',
      'start its chunkservers: they catch up with what they missed',
    )
  }
  const host = waiting.get('host-away') ?? 0
  if (host > 0) {
    yield sentence(
      count(host, 'copyset has a replica', 'copysets have a replica') + ' on a silent server',
      'it is not rebuilt, as the host has failed rather than its disks',
      'start the server again',
    )
  }
  const place = waiting.get('no-place') ?? 0
  if (place > 0) {
    yield sentence(
      count(place, 'copyset has', 'copysets have') + ' no place to rebuild a replica',
      'the other replicas serve',
      'start or add chunkservers in zones of which it has no replica',
    )
  }
}

/** Why nothing moves now, in one sentence; null when nothing forbids it. */
export function guardSays({ reasons, zonesAway, away, expected }: Guard): string | null {
  const says = reasons.map((reason) => {
    switch (reason) {
      case 'maintenance':
        return 'maintenance is on'
      case 'young':
        return 'the MDS has just started and has not heard everybody yet'
      case 'zone-away':
        return `whole zones are away: ${zonesAway.join(', ')}`
      case 'many-away':
        return `${away} of ${expected} chunkservers are silent`
    }
  })
  return says.length === 0 ? null : `Nothing moves: ${says.join('; ')}.`
}

function count(of: number, one: string, many: string): string {
  return `${of} ${of === 1 ? one : many}`
}

function subject(of: readonly { readonly id: number }[], is: string, are: string): string {
  const ids = of.slice(0, NAMED_MAX).map(({ id }) => id)
  const more = of.length > ids.length ? ` and ${of.length - ids.length} more` : ''
  return of.length === 1
    ? `Chunkserver ${ids[0]} ${is}`
    : `Chunkservers ${ids.join(', ')}${more} ${are}`
}
