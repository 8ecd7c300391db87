// Owns the end of deleted volumes: those whose time in the recycle bin is up, or that were emptied from
// it, lose their chunks, then every copyset that had any is told that they are gone, then their records
// go. In the background, at a limited rate, and from where it stopped after a restart.
// Invariant: a segment's record goes after its chunks are ended, so that none is ever forgotten; done
// twice it does no harm.

import { asLemnisError, LemnisError } from '../../base/errors.ts'
import type { Timer } from '../../env/clock.ts'
import type { Segment } from '../../format/control/parts.ts'
import type { VolumeRecord } from '../../format/records/volume.ts'
import { dropSome, markCleaned, segmentsInOrder } from '../../namespace/segments.ts'
import { goneAround } from '../../namespace/volumes.ts'
import type { MdsContext } from '../records.ts'
import type { ChunkChange } from './chunk-caller.ts'
import type { Volumes } from './volumes.ts'

/** Where a chunk change is carried out. */
export interface ChunkChanger {
  changeChunk(change: ChunkChange): Promise<void>
  /** Nothing is to be changed for a while. */
  release(): Promise<void>
}

/** A deletion that does not get on, for people. */
export interface CleanerWait {
  readonly volume: VolumeRecord
  readonly sinceMs: number
  readonly reason: string
}

const AT_ONCE_MAX = 16
const SEGMENTS_PER_COMMIT = 256

export class Cleaner {
  readonly #context: MdsContext
  readonly #volumes: Volumes
  readonly #changer: ChunkChanger
  readonly #waits = new Map<number, CleanerWait>()
  #timer: Timer | null = null
  #pass: Promise<void> | null = null
  #isWoken = false
  #isClosed = false
  /** When the next chunk may be changed, at the configured rate. */
  #nextMs = 0

  constructor(context: MdsContext, volumes: Volumes, changer: ChunkChanger) {
    this.#context = context
    this.#volumes = volumes
    this.#changer = changer
  }

  /** Begins to look, now and every cleanIntervalMs. */
  start(): void {
    this.wake()
  }

  /** Looks now, as there is something to do. */
  wake(): void {
    if (this.#isClosed) return
    this.#isWoken = true
    if (this.#pass !== null) return
    this.#timer?.cancel()
    this.#pass = this.#passes()
  }

  /** Deletions that met an error, until they get on. */
  waits(): CleanerWait[] {
    return [...this.#waits.values()]
  }

  /** Stops after what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#pass
  }

  async #passes(): Promise<void> {
    while (this.#isWoken && !this.#isClosed) {
      this.#isWoken = false
      await this.#passOnce()
    }
    this.#pass = null
    if (this.#isClosed) return
    const { cleanIntervalMs } = this.#context.config
    this.#timer = this.#context.env.clock.after(cleanIntervalMs, () => this.wake())
  }

  /** What fails is left for the next pass; the other volumes go on. */
  async #passOnce(): Promise<void> {
    try {
      await this.#volumes.purgeExpired()
    } catch (error) {
      // The ledger has said why; a new start begins here again.
      asLemnisError(error)
      return
    }
    const going = this.#volumes.space.list('deleting')
    for (const volume of going) {
      if (this.#isClosed) return
      try {
        await this.#clean(volume)
        this.#waits.delete(volume.id)
      } catch (error) {
        this.#failed(volume, asLemnisError(error))
      }
    }
    if (going.length > 0) await this.#changer.release()
  }

  #failed(volume: VolumeRecord, error: LemnisError): void {
    if (this.#isClosed) return
    const sinceMs = this.#waits.get(volume.id)?.sinceMs ?? this.#context.env.clock.wallMs()
    this.#waits.set(volume.id, { volume, sinceMs, reason: error.message })
    this.#context.observer.emit('mds_clean_delayed', {
      volume: volume.id,
      name: volume.name,
      code: error.code,
      reason: error.message,
    })
  }

  async #clean(before: VolumeRecord): Promise<void> {
    const { space } = this.#volumes
    const segments = segmentsInOrder(space, before.id)
    const cleaned = before.cleanedSegments ?? 0
    for (const segment of segments) {
      if (segment.index < cleaned) continue
      await this.#endChunks(before, segment)
      await this.#volumes.change(() => markCleaned(before, segment.index + 1))
    }
    await this.#endVolume(before, segments)
    for (let isGone = false; !isGone; ) {
      this.#checkOpen()
      isGone = await this.#volumes.change(() => dropSome(space, before.id, SEGMENTS_PER_COMMIT))
    }
    this.#context.observer.emit('mds_volume_gone', {
      volume: before.id,
      name: before.name,
      segments: segments.length,
    })
  }

  async #endChunks({ id, epoch, sn }: VolumeRecord, segment: Segment): Promise<void> {
    const { firstChunk, groups } = segment
    await this.#each(groups.length, (i) => ({
      op: 'delete',
      group: groups[i] as number,
      volume: id,
      epoch,
      sn,
      chunk: firstChunk + i,
    }))
  }

  /** For good: a writer that has heard nothing of all this must find itself fenced. */
  async #endVolume({ id, epoch }: VolumeRecord, segments: readonly Segment[]): Promise<void> {
    const groups = new Set<number>()
    for (const segment of segments) for (const group of segment.groups) groups.add(group)
    const ordered = [...groups]
    const { first, last } = goneAround(this.#volumes.space, id)
    await this.#each(ordered.length, (i) => ({
      op: 'end-volume',
      group: ordered[i] as number,
      volume: id,
      epoch,
      sn: last,
      chunk: first,
    }))
  }

  /** Some at once, at the configured rate; the first error, after all of them have been tried. */
  async #each(count: number, changeOf: (i: number) => ChunkChange): Promise<void> {
    let next = 0
    let failure: LemnisError | null = null
    const worker = async (): Promise<void> => {
      while (next < count) {
        const change = changeOf(next++)
        await this.#turn()
        this.#checkOpen()
        try {
          await this.#changer.changeChunk(change)
        } catch (error) {
          failure ??= asLemnisError(error)
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(AT_ONCE_MAX, count) }, worker))
    if (failure !== null) throw failure as LemnisError
  }

  /** Waits for the turn of one more change. */
  async #turn(): Promise<void> {
    const { clock } = this.#context.env
    const nowMs = clock.monotonicMs()
    const atMs = Math.max(nowMs, this.#nextMs)
    this.#nextMs = atMs + 1000 / this.#context.config.cleanChunksPerSecond
    if (atMs > nowMs) await new Promise<void>((done) => void clock.after(atMs - nowMs, done))
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new LemnisError('CLOSED', { what: 'cleaner' })
  }
}
