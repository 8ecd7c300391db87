// Owns what a person is told when a pool finds too few zones: how many its replicas need, what there is,
// what is the matter with the others, and what helps.

import { LemnisError } from '../../base/errors.ts'
import type { PoolRecord } from '../../format/records/topology.ts'
import { type ChunkserverView, isUsable } from '../../placement/view.ts'

/** Ids and names in one list. */
const NAMED_MAX = 8

/** UNPLACEABLE, with what helps; null when there are zones enough. */
export function zonesMissing(
  pool: Pick<PoolRecord, 'name' | 'replicas' | 'zones'>,
  all: readonly ChunkserverView[],
): LemnisError | null {
  const { name, replicas, zones } = pool
  const members = all.filter(
    (one) => one.pool === name && (zones === undefined || zones.includes(one.zone)),
  )
  const there = zonesOf(members.filter(isUsable))
  if (there.length >= replicas) return null
  const unfit = members.filter((one) => !isUsable(one))
  const others = all.filter((one) => one.pool !== name)
  const has = there.length === 0 ? 'none' : `${there.length} (${named(there)})`
  const where = zones === undefined ? `pool ${name}` : `pool ${name} in ${named(zones)}`
  return new LemnisError('UNPLACEABLE', {
    reason: `${replicas} replicas need chunkservers in ${replicas} zones, and ${where} has ${has}`,
    ...(unfit.length === 0 ? {} : { unfit: named(unfit.map(unfitText)) }),
    ...(others.length === 0 ? {} : { elsewhere: elsewhere(others) }),
    helps: helps(pool, there, zonesOf(members)),
  })
}

function helps(
  { name, replicas, zones }: Pick<PoolRecord, 'name' | 'replicas' | 'zones'>,
  there: readonly string[],
  known: readonly string[],
): string {
  if (zones !== undefined && zones.length < replicas) {
    return `name at least ${replicas} zones, or ask for fewer replicas`
  }
  if (known.length >= replicas) {
    return 'see `lemnis chunkserver list`: start those that are away, or wait for those that are slow or full'
  }
  const missing = replicas - there.length
  const more = there.length === 0 ? `${missing} zones` : `${missing} more ${plural(missing)}`
  const start = `start chunkservers in ${more}: \`lemnis chunkserver --pool ${name} --zone ZONE\``
  return there.length === 0 ? start : `${start}, or ask for ${there.length} replicas`
}

function plural(zones: number): string {
  return zones === 1 ? 'zone' : 'zones'
}

function zonesOf(chunkservers: readonly ChunkserverView[]): string[] {
  return [...new Set(chunkservers.map(({ zone }) => zone))].sort()
}

/** `3 is offline`. */
function unfitText({ id, presence, isLost, isDraining, isFull }: ChunkserverView): string {
  if (isLost) return `${id} has no disk`
  if (presence !== 'online') return `${id} is ${presence}`
  if (isDraining) return `${id} empties itself`
  return `${id} is ${isFull ? 'full' : 'slow'}`
}

/** `12 in pool default`. */
function elsewhere(others: readonly ChunkserverView[]): string {
  const pools = new Map<string, number>()
  for (const { pool } of others) pools.set(pool, (pools.get(pool) ?? 0) + 1)
  return named(
    Array.from(pools, ([pool, count]) =>
      pool === '' ? `${count} in no pool` : `${count} in pool ${pool}`,
    ),
  )
}

function named(words: readonly string[]): string {
  const more = words.length - NAMED_MAX
  return `${words.slice(0, NAMED_MAX).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
