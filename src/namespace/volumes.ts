// Owns the life of a volume as plans: each looks at the namespace and says what would change and what
// the answer is, or refuses with what a person needs to know. Nothing is changed here.
// ready → deleted (the recycle bin, restore leads back) → deleting (for good) → gone. Every way out of
// 'ready' raises the write epoch, so that a writer from before can no longer change a byte.

import { LemnisError } from '../base/errors.ts'
import { without } from '../base/without.ts'
import type { HolderRecord, VolumeRecord } from '../format/records/volume.ts'
import type { Namespace, Planned } from './namespace.ts'
import { checkSize, checkStripe } from './rules.ts'

export interface NewVolume {
  readonly name: string
  readonly pool: string
  readonly sizeBytes: number
  readonly stripeUnitBytes: number
  readonly stripeCount: number
  readonly iopsMax: number
  readonly bytesPerSecondMax: number
}

export function createVolume(
  space: Namespace,
  wanted: NewVolume,
  wallMs: number,
): Planned<VolumeRecord> {
  checkSize(wanted.sizeBytes)
  checkStripe(wanted.stripeUnitBytes, wanted.stripeCount)
  checkNameFree(space, wanted.name)
  const { serials } = space
  const volume: VolumeRecord = {
    id: serials.volume,
    name: wanted.name,
    pool: wanted.pool,
    sizeBytes: wanted.sizeBytes,
    stripeUnitBytes: wanted.stripeUnitBytes,
    stripeCount: wanted.stripeCount,
    iopsMax: wanted.iopsMax,
    bytesPerSecondMax: wanted.bytesPerSecondMax,
    state: 'ready',
    sn: 1,
    epoch: 0,
    createdMs: wallMs,
  }
  const change = { serials: { ...serials, volume: serials.volume + 1 }, volume }
  return { change, result: volume }
}

/** The volume in use under that name, or NOT_FOUND, which tells of one in the recycle bin. */
export function findReady(space: Namespace, name: string): VolumeRecord {
  const volume = space.readyNamed(name)
  if (volume !== null) return volume
  const inTrash = space.list('deleted').some((deleted) => deleted.name === name)
  throw new LemnisError('NOT_FOUND', { volume: name, ...(inTrash ? { inTrash } : {}) })
}

/** The same by id, for those who have it open. */
export function findReadyById(space: Namespace, id: number): VolumeRecord {
  const volume = space.volume(id)
  if (volume?.state === 'ready') return volume
  const detail = volume === null ? {} : { name: volume.name, state: 'deleted' }
  throw new LemnisError('NOT_FOUND', { volume: id, ...detail })
}

export function resizeVolume(
  space: Namespace,
  name: string,
  sizeBytes: number,
): Planned<VolumeRecord> {
  const before = findReady(space, name)
  if (sizeBytes === before.sizeBytes) return { change: null, result: before }
  checkSize(sizeBytes)
  if (sizeBytes < before.sizeBytes) {
    throw new LemnisError('INVALID_ARGUMENT', {
      what: 'size',
      volume: name,
      sizeBytes,
      expected: `more than the present ${before.sizeBytes} bytes: a volume only grows`,
    })
  }
  return put({ ...before, sizeBytes })
}

export function renameVolume(space: Namespace, name: string, to: string): Planned<VolumeRecord> {
  const before = findReady(space, name)
  if (to === name) return { change: null, result: before }
  checkNameFree(space, to)
  return put({ ...before, name: to })
}

/** Into the recycle bin. The caller has made sure that nobody holds it. */
export function deleteVolume(
  space: Namespace,
  name: string,
  wallMs: number,
  expiryMs: number,
): Planned<VolumeRecord> {
  const before = without(findReady(space, name), 'holder')
  const expiresMs = wallMs + expiryMs
  const epoch = before.epoch + 1
  return put({ ...before, epoch, state: 'deleted', deletedMs: wallMs, expiresMs })
}

/** The deleted volume of that name and id; without an id the one deleted last. */
export function restoreVolume(
  space: Namespace,
  name: string,
  id: number | undefined,
  to: string,
): Planned<VolumeRecord> {
  const before = without(findDeleted(space, name, id), 'deletedMs', 'expiresMs')
  checkNameFree(space, to)
  return put({ ...before, name: to, state: 'ready' })
}

function findDeleted(space: Namespace, name: string, id: number | undefined): VolumeRecord {
  const own = (volume: VolumeRecord): boolean =>
    volume.name === name && (id === undefined || volume.id === id)
  let newest: VolumeRecord | null = null
  for (const volume of space.list('deleted')) {
    // Of equal dates the younger volume: the list has it later.
    if (own(volume) && (volume.deletedMs ?? 0) >= (newest?.deletedMs ?? 0)) newest = volume
  }
  if (newest !== null) return newest
  const isGoing = space.list('deleting').some(own)
  throw new LemnisError('NOT_FOUND', {
    volume: name,
    ...(id === undefined ? {} : { id }),
    what: isGoing ? 'it is being deleted for good' : 'there is none in the recycle bin',
  })
}

/** From the recycle bin for good. */
export function purgeVolume(space: Namespace, id: number): Planned<VolumeRecord> {
  const before = space.volume(id)
  if (before?.state !== 'deleted') {
    throw new LemnisError('NOT_FOUND', { volume: id, what: 'it is not in the recycle bin' })
  }
  return put({ ...before, epoch: before.epoch + 1, state: 'deleting', cleanedSegments: 0 })
}

/**
 * The ids around that of a volume which goes of which there is none any more. Only such as lie below
 * one that there is: those above may be given out at any moment.
 */
export function goneAround(
  space: Namespace,
  id: number,
): { readonly first: number; readonly last: number } {
  let below = 0
  let above = Number.POSITIVE_INFINITY
  for (const other of space.volumes()) {
    if (other.id < id) below = Math.max(below, other.id)
    else if (other.id > id) above = Math.min(above, other.id)
  }
  return { first: below + 1, last: above === Number.POSITIVE_INFINITY ? id : above - 1 }
}

/**
 * The deleted volumes whose time is up. By the date, as nothing else lasts over restarts: what a
 * person was told is a day of the calendar too.
 */
export function expiredVolumes(space: Namespace, wallMs: number): VolumeRecord[] {
  return space.list('deleted').filter((volume) => (volume.expiresMs ?? wallMs) <= wallMs)
}

// --- writers

export interface Opener {
  readonly client: string
  readonly address: string
  readonly force: boolean
}

/**
 * The epoch to write with. The same client again is a repeated call and keeps its epoch; anybody else
 * gets the next one, refused while the holder's lease lasts (`leftMs`), unless by force.
 */
export function openForWriting(
  before: VolumeRecord,
  opener: Opener,
  leftMs: number,
  wallMs: number,
): Planned<VolumeRecord> {
  const { holder } = before
  if (holder?.client === opener.client) return { change: null, result: before }
  if (holder !== undefined && leftMs > 0 && !opener.force) throw inUse(before, holder, leftMs)
  const { client, address } = opener
  return put({ ...before, epoch: before.epoch + 1, holder: { client, address, sinceMs: wallMs } })
}

/** Ends the writing of the client that has this epoch; anybody else's is no matter. */
export function closeForWriting(
  before: VolumeRecord,
  client: string,
  epoch: number,
): Planned<boolean> {
  const isOwn = before.holder?.client === client && before.epoch === epoch
  if (!isOwn) return { change: null, result: false }
  return { change: { volume: without(before, 'holder') }, result: true }
}

/** Refuses an epoch that is no longer, or was never, the volume's. */
export function checkEpoch(volume: VolumeRecord, epoch: number): void {
  if (epoch === volume.epoch) return
  const { holder } = volume
  const by = holder === undefined ? {} : holderDetail(holder)
  throw new LemnisError('FENCED', {
    volume: volume.name,
    epoch,
    presentEpoch: volume.epoch,
    ...by,
  })
}

export function inUse(volume: VolumeRecord, holder: HolderRecord, leftMs: number): LemnisError {
  return new LemnisError('IN_USE', {
    volume: volume.name,
    ...holderDetail(holder),
    leaseEndsInMs: Math.ceil(leftMs),
  })
}

function holderDetail(holder: HolderRecord): Record<string, string | number> {
  return { holder: holder.client, address: holder.address, sinceMs: holder.sinceMs }
}

function checkNameFree(space: Namespace, name: string): void {
  const taken = space.readyNamed(name)
  if (taken !== null) throw new LemnisError('ALREADY_EXISTS', { volume: name, id: taken.id })
}

function put(volume: VolumeRecord): Planned<VolumeRecord> {
  return { change: { volume }, result: volume }
}
