// Owns the namespace as the MDS serves it: the records in memory as in the ledger, and what people do
// with volumes. Each change is planned by src/namespace, committed, then made in memory; reads answer
// from memory, which has nothing that is not durable.
// Writers (open, renew, close, segments) are in writers.ts, deleting for good in cleaner.ts.

import { LemnisError } from '../../base/errors.ts'
import type { MetaChange, MetaItem } from '../../env/metastore.ts'
import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import type {
  CREATE_VOLUME,
  DELETE_VOLUME,
  EMPTY_TRASH,
  LIST_VOLUMES,
  RENAME_VOLUME,
  RESIZE_VOLUME,
  RESTORE_VOLUME,
  SHOW_VOLUME,
} from '../../format/control/mds.ts'
import type { Volume } from '../../format/control/parts.ts'
import { decodeRecord, encodeRecord } from '../../format/records/record.ts'
import { SegmentRecord, SerialsRecord, VolumeRecord } from '../../format/records/volume.ts'
import { Leases } from '../../namespace/leases.ts'
import { Namespace, type NamespaceChange, type Planned } from '../../namespace/namespace.ts'
import { volumeToShow } from '../../namespace/show.ts'
import {
  createVolume,
  deleteVolume,
  expiredVolumes,
  findReady,
  inUse,
  purgeVolume,
  renameVolume,
  resizeVolume,
  restoreVolume,
} from '../../namespace/volumes.ts'
import {
  type MdsContext,
  readSegmentKey,
  SEGMENT_PREFIX,
  SERIALS_KEY,
  segmentKey,
  VOLUME_PREFIX,
  volumeKey,
} from '../records.ts'

/** The pool of a volume for which none is named. */
const DEFAULT_POOL = 'default'
/** Volumes in one answer: at most some 900 bytes each, within a frame's body. */
const VOLUMES_PAGE = 1000
const NOTHING = (): void => {}

export class Volumes {
  readonly space = new Namespace()
  readonly leases: Leases
  /** Who held a volume when this process started; the 'stale-lease' bug forgets them. */
  readonly heldAtStart = new Set<number>()
  readonly #context: MdsContext
  readonly #deciding = new Set<number>()

  private constructor(context: MdsContext) {
    this.#context = context
    const { leaseMs, leaseMarginMs } = context.config
    this.leases = new Leases(leaseMs + leaseMarginMs)
  }

  /** Reads all records. */
  static async load(context: MdsContext): Promise<Volumes> {
    const { ledger } = context
    const volumes = new Volumes(context)
    const { space } = volumes
    const serials = await ledger.read(SERIALS_KEY)
    if (serials !== null) space.apply({ serials: decodeRecord(SerialsRecord, serials) })
    await ledger.load(VOLUME_PREFIX, (item) => {
      const volume = decodeRecord(VolumeRecord, item)
      if (item.key !== volumeKey(volume.id) || volume.id >= space.serials.volume) {
        throw corrupt(item, 'id')
      }
      const taken = volume.state === 'ready' && space.readyNamed(volume.name) !== null
      if (taken) throw corrupt(item, 'name')
      space.apply({ volume })
    })
    await ledger.load(SEGMENT_PREFIX, (item) => volumes.#loadSegment(item))
    return volumes
  }

  #loadSegment(item: MetaItem): void {
    const place = readSegmentKey(item.key)
    const { firstChunk, groups } = decodeRecord(SegmentRecord, item)
    if (place === null || this.space.volume(place.volume) === null) throw corrupt(item, 'key')
    if (firstChunk + groups.length - 1 > this.space.serials.segment * groups.length) {
      throw corrupt(item, 'firstChunk')
    }
    const made = [{ index: place.index, firstChunk, groups }]
    this.space.apply({ segments: { volume: place.volume, made } })
  }

  /**
   * Right before anything is answered: every holder has a whole lease from now, as it may have renewed at
   * another MDS until a moment ago.
   */
  grantAll(): void {
    const nowMs = this.#context.env.clock.monotonicMs()
    for (const volume of this.space.volumes()) {
      if (volume.holder === undefined) continue
      this.heldAtStart.add(volume.id)
      if (!this.#context.bugs.has('stale-lease')) this.leases.grant(volume.id, nowMs)
    }
  }

  // --- for the status and the heartbeats

  get count(): number {
    return this.space.count('ready')
  }

  /** In the recycle bin. */
  get deletedCount(): number {
    return this.space.count('deleted')
  }

  /** Of a pool, whatever their state: its chunks are there until a deleted one is gone. */
  countIn(pool: string): number {
    let count = 0
    for (const volume of this.space.volumes()) if (volume.pool === pool) count++
    return count
  }

  /** Of the volumes that have any, for the check of chunkservers. */
  limits(): { volume: number; iopsMax: number; bytesPerSecondMax: number }[] {
    const limited: { volume: number; iopsMax: number; bytesPerSecondMax: number }[] = []
    for (const { id, state, iopsMax, bytesPerSecondMax } of this.space.volumes()) {
      if (state !== 'ready' || (iopsMax === 0 && bytesPerSecondMax === 0)) continue
      limited.push({ volume: id, iopsMax, bytesPerSecondMax })
    }
    return limited
  }

  // --- what people do

  create(request: RequestOf<typeof CREATE_VOLUME>): Promise<Volume> {
    const { name, pool = DEFAULT_POOL } = request
    return this.#changeAndShow(() => {
      if (!this.#context.topology.poolExists(pool)) {
        throw new LemnisError('NOT_FOUND', {
          pool,
          reason: 'there is no such pool',
          helps: 'see `lemnis pool list`, or make it by `lemnis pool create`',
        })
      }
      return createVolume(this.space, { ...request, name, pool }, this.#wallMs())
    })
  }

  list(request: RequestOf<typeof LIST_VOLUMES>): ReplyOf<typeof LIST_VOLUMES> {
    const { deleted, from = 0 } = request
    const all = this.space.list(deleted ? 'deleted' : 'ready').filter(({ id }) => id >= from)
    all.sort((a, b) => a.id - b.id)
    const volumes = all.slice(0, VOLUMES_PAGE).map((volume) => this.show(volume))
    const next = all[VOLUMES_PAGE]?.id
    return next === undefined ? { volumes } : { volumes, next }
  }

  showNamed({ name }: RequestOf<typeof SHOW_VOLUME>): Volume {
    return this.show(findReady(this.space, name))
  }

  resize({ name, sizeBytes }: RequestOf<typeof RESIZE_VOLUME>): Promise<Volume> {
    return this.#changeAndShow(() => resizeVolume(this.space, name, sizeBytes))
  }

  rename({ name, to }: RequestOf<typeof RENAME_VOLUME>): Promise<Volume> {
    return this.#changeAndShow(() => renameVolume(this.space, name, to))
  }

  /** Refused while somebody's lease lasts; a holder whose lease has ended is fenced by it. */
  async delete({ name }: RequestOf<typeof DELETE_VOLUME>): Promise<Volume> {
    const deleted = await this.change(
      () => {
        const before = findReady(this.space, name)
        const leftMs = this.leases.leftMs(before, this.nowMs())
        if (before.holder !== undefined && leftMs > 0) throw inUse(before, before.holder, leftMs)
        return deleteVolume(this.space, name, this.#wallMs(), this.#context.config.trashExpiryMs)
      },
      (volume) => this.leases.end(volume.id),
    )
    return this.show(deleted)
  }

  restore({ name, id, to = name }: RequestOf<typeof RESTORE_VOLUME>): Promise<Volume> {
    return this.#changeAndShow(() => restoreVolume(this.space, name, id, to))
  }

  async emptyTrash({ id }: RequestOf<typeof EMPTY_TRASH>): Promise<ReplyOf<typeof EMPTY_TRASH>> {
    if (id !== undefined) {
      await this.purge(id)
      return { volumes: 1 }
    }
    return { volumes: await this.#purgeAll(this.space.list('deleted')) }
  }

  /** Volumes whose time in the recycle bin is up go for good. */
  async purgeExpired(): Promise<void> {
    await this.#purgeAll(expiredVolumes(this.space, this.#wallMs()))
  }

  async purge(id: number): Promise<void> {
    await this.change(() => purgeVolume(this.space, id))
  }

  async #purgeAll(volumes: readonly VolumeRecord[]): Promise<number> {
    let count = 0
    for (const { id } of volumes) {
      // Somebody may have restored it, or have purged it too, while the others were written.
      if (this.space.volume(id)?.state !== 'deleted') continue
      await this.purge(id)
      count++
    }
    return count
  }

  // --- for the other files of the namespace

  /** As people and clients are told of it. */
  show(volume: VolumeRecord): Volume {
    const isHeld = this.leases.leftMs(volume, this.nowMs()) > 0
    return volumeToShow(volume, this.space.segmentsOf(volume.id).size, isHeld)
  }

  nowMs(): number {
    return this.#context.env.clock.monotonicMs()
  }

  /**
   * Whether a change of this volume is being written. Who renews a lease waits for it: the change may
   * be the one that gives the volume to somebody else.
   */
  isDeciding(volume: number): boolean {
    return this.#deciding.has(volume)
  }

  /**
   * Plans when all earlier changes are done, writes, changes memory, and then runs `after` in the same
   * turn. The plan may throw, which refuses it.
   */
  change<T>(plan: () => Planned<T>, after: (result: T) => void = NOTHING): Promise<T> {
    return this.#context.ledger.change(() => {
      const { change, result } = plan()
      const volume = change?.volume?.id
      if (volume !== undefined) this.#deciding.add(volume)
      return {
        changes: change === null ? [] : changesOf(change),
        apply: () => {
          if (volume !== undefined) this.#deciding.delete(volume)
          if (change !== null) this.space.apply(change)
          after(result)
          return result
        },
      }
    })
  }

  async #changeAndShow(plan: () => Planned<VolumeRecord>): Promise<Volume> {
    return this.show(await this.change(plan))
  }

  /** The date, which is told to people and outlives restarts. */
  #wallMs(): number {
    return this.#context.env.clock.wallMs()
  }
}

/** A change of the namespace as the ledger writes it. */
export function changesOf(change: NamespaceChange): MetaChange[] {
  const { serials, volume, segments, droppedSegments, droppedVolume } = change
  const changes: MetaChange[] = []
  const put = (key: string, value: string): void => void changes.push({ kind: 'put', key, value })
  const remove = (key: string): void => void changes.push({ kind: 'remove', key })
  if (serials !== undefined) put(SERIALS_KEY, encodeRecord(SerialsRecord, serials))
  if (volume !== undefined) put(volumeKey(volume.id), encodeRecord(VolumeRecord, volume))
  for (const { index, firstChunk, groups } of segments?.made ?? []) {
    const key = segmentKey(segments?.volume ?? 0, index)
    put(key, encodeRecord(SegmentRecord, { firstChunk, groups }))
  }
  for (const index of droppedSegments?.indexes ?? []) {
    remove(segmentKey(droppedSegments?.volume ?? 0, index))
  }
  if (droppedVolume !== undefined) remove(volumeKey(droppedVolume))
  return changes
}

function corrupt(item: MetaItem, member: string): LemnisError {
  return new LemnisError('CORRUPT', { record: item.key, member })
}
