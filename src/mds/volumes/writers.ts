// Owns what the MDS answers to clients that have a volume open: opening with a write epoch, renewing
// the lease, closing, and where segments are. Invariants: an epoch is given to one client; its holder is
// durable before it hears of it; and nobody else gets the next one while that client's lease lasts here,
// which is longer than it lasts there: here it counts from the answer, there from the question, and
// the margin covers clocks of different speed.

import type { ReplyOf, RequestOf } from '../../format/control/call.ts'
import type {
  CLOSE_VOLUME,
  GET_SEGMENTS,
  Lease,
  OPEN_VOLUME,
  RENEW_LEASE,
} from '../../format/control/mds.ts'
import type { Segment } from '../../format/control/parts.ts'
import type { VolumeRecord } from '../../format/records/volume.ts'
import type { Planned } from '../../namespace/namespace.ts'
import { checkSegmentRange } from '../../namespace/rules.ts'
import { allocateSegments, segmentsBetween } from '../../namespace/segments.ts'
import {
  checkEpoch,
  closeForWriting,
  findReady,
  findReadyById,
  openForWriting,
} from '../../namespace/volumes.ts'
import type { MdsContext } from '../records.ts'
import { changesOf, type Volumes } from './volumes.ts'

export class Writers {
  readonly #context: MdsContext
  readonly #volumes: Volumes

  constructor(context: MdsContext, volumes: Volumes) {
    this.#context = context
    this.#volumes = volumes
  }

  async open(request: RequestOf<typeof OPEN_VOLUME>): Promise<Lease> {
    const volumes = this.#volumes
    if (request.mode === 'read') return this.#lease(findReady(volumes.space, request.name))
    const opened = await volumes.change(
      () => {
        const before = findReady(volumes.space, request.name)
        const leftMs = volumes.leases.leftMs(before, volumes.nowMs())
        const planned = openForWriting(before, request, leftMs, this.#context.env.clock.wallMs())
        return planned.change !== null && this.#isForgotten(before)
          ? withEpoch(planned, before.epoch)
          : planned
      },
      (volume) => volumes.leases.grant(volume.id, volumes.nowMs()),
    )
    return this.#lease(opened)
  }

  /**
   * The writer's lease from now on anew; also after it ended, as long as nobody took the volume over.
   * A reader gives the epoch 0, hears of the present one, and has no lease here.
   */
  async renew(request: RequestOf<typeof RENEW_LEASE>): Promise<Lease> {
    const isDeciding = this.#volumes.isDeciding(request.volume)
    if (!isDeciding) return this.#renew(request)
    return this.#context.ledger.change(() => ({
      changes: [],
      apply: () => this.#renew(request),
    }))
  }

  #renew({ volume: id, client, epoch }: RequestOf<typeof RENEW_LEASE>): Lease {
    const { space, leases } = this.#volumes
    const volume = findReadyById(space, id)
    if (epoch !== 0) checkEpoch(volume, epoch)
    if (epoch !== 0 && volume.holder?.client === client) leases.grant(id, this.#volumes.nowMs())
    return this.#lease(volume)
  }

  /** Done twice, or after somebody took the volume over, it changes nothing. */
  async close(request: RequestOf<typeof CLOSE_VOLUME>): Promise<ReplyOf<typeof CLOSE_VOLUME>> {
    const volumes = this.#volumes
    await volumes.change(
      () => {
        const before = volumes.space.volume(request.volume)
        if (before === null) return { change: null, result: false }
        return closeForWriting(before, request.client, request.epoch)
      },
      (isClosed) => {
        if (isClosed) volumes.leases.end(request.volume)
      },
    )
    return {}
  }

  async segments(request: RequestOf<typeof GET_SEGMENTS>): Promise<ReplyOf<typeof GET_SEGMENTS>> {
    const { volume: id, from, to, allocate } = request
    const { space } = this.#volumes
    const volume = findReadyById(space, id)
    checkSegmentRange(from, to, volume.sizeBytes)
    if (!allocate) return { segments: segmentsBetween(space, id, from, to) }
    if (this.#context.bugs.has('allocation-before-commit')) return this.#allocateEarly(request)
    return { segments: await this.#volumes.change(() => this.#planSegments(request)) }
  }

  #planSegments(request: RequestOf<typeof GET_SEGMENTS>): Planned<Segment[]> {
    const { space } = this.#volumes
    // Looked at again: since the question it may have been deleted or taken over.
    const volume = findReadyById(space, request.volume)
    checkEpoch(volume, request.epoch)
    const choose = (count: number): number[] => this.#context.topology.choose(count, volume.pool)
    return allocateSegments(space, volume, request.from, request.to, choose)
  }

  #lease(volume: VolumeRecord): Lease {
    const { leaseMs } = this.#context.config
    return { volume: this.#volumes.show(volume), epoch: volume.epoch, leaseMs }
  }

  // --- planted bugs

  #allocateEarly(request: RequestOf<typeof GET_SEGMENTS>): ReplyOf<typeof GET_SEGMENTS> {
    const { change, result } = this.#planSegments(request)
    if (change !== null) {
      this.#volumes.space.apply(change)
      const changes = changesOf(change)
      this.#context.ledger.change(() => ({ changes, apply: () => {} })).catch(() => {})
    }
    return { segments: result }
  }

  /** Whether the holder is from before this process started, and the bug makes it forgotten. */
  #isForgotten(volume: VolumeRecord): boolean {
    return this.#context.bugs.has('stale-lease') && this.#volumes.heldAtStart.has(volume.id)
  }
}

function withEpoch(planned: Planned<VolumeRecord>, epoch: number): Planned<VolumeRecord> {
  const volume = { ...planned.result, epoch }
  return { change: { volume }, result: volume }
}
