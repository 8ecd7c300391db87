// Owns one open volume: its operations as promises, what is under way of them, and its end. Everything
// below is made for one open and ends with it.
// Invariants: a change that was acknowledged is durable, so that a flush has only to wait for those
// before it; once the volume is fenced or closed nothing succeeds any more.

import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { Histogram } from '../base/histogram.ts'
import type { Env } from '../env/env.ts'
import { BLOCK_BYTES, SEGMENT_BYTES } from '../format/chunk-request.ts'
import { CLOSE_VOLUME, type Lease, SHOW_VOLUME } from '../format/control/mds.ts'
import type { Volume as VolumeInfo } from '../format/control/parts.ts'
import type { Observer } from '../observe/observe.ts'
import { Admission } from './admission.ts'
import { AlignedIo } from './aligned.ts'
import type { ClientConfig } from './config.ts'
import type { BlockDevice, Extent } from './device.ts'
import { Layout } from './layout.ts'
import { LeaseKeeper, type Opener } from './lease.ts'
import { type MdsCaller, orNull } from './mds-caller.ts'
import { Operation, type OperationKind, type OperationOwner } from './operation.ts'
import type { Requests, Wait } from './requests.ts'
import { Segments } from './segments.ts'
import { VolumeIo } from './volume-io.ts'
import { VolumeMetrics } from './volume-metrics.ts'

export interface VolumeEvents {
  /** Another client took the volume over, or it was deleted. Called once. */
  readonly onFenced?: (error: LemnisError) => void
  /** The volume has grown to so many bytes. */
  readonly onResize?: (sizeBytes: number) => void
}

/** Percentiles in microseconds since the volume was opened. */
export interface LatencyStats {
  readonly count: number
  readonly p50Us: number
  readonly p99Us: number
  readonly maxUs: number
}

export interface VolumeStats {
  readonly state: 'open' | 'closing' | 'ended'
  readonly epoch: number
  /** Negative when the lease has run out; Infinity never, 0 for readers that hold none. */
  readonly leaseLeftMs: number
  readonly inflightOps: number
  readonly inflightBytes: number
  readonly waitingOps: number
  readonly retries: number
  readonly readBytes: number
  readonly writtenBytes: number
  readonly reads: LatencyStats
  readonly writes: LatencyStats
}

/** What a client hands to each of its volumes. */
export interface VolumeParts {
  readonly env: Env
  readonly observer: Observer
  readonly config: ClientConfig
  readonly mds: MdsCaller
  readonly requests: Requests
  readonly opener: Opener
  readonly lease: Lease
  readonly leaseSentMs: number
  readonly events: VolumeEvents
  /** Called when the volume is closed. */
  readonly onClosed: (volume: Volume) => void
}

/** Changes that a flush waits for. */
interface Flush {
  left: number
  readonly resolve: () => void
}

export class Volume implements BlockDevice, OperationOwner {
  readonly blockBytes = BLOCK_BYTES
  readonly #parts: VolumeParts
  readonly #requests: Requests
  readonly #segments: Segments
  readonly #io: VolumeIo
  readonly #aligned: AlignedIo
  readonly #admission: Admission
  readonly #lease: LeaseKeeper
  readonly #metrics: VolumeMetrics
  readonly #readUs = new Histogram()
  readonly #writeUs = new Histogram()
  /** Changes that were asked for and are not over. */
  readonly #changes = new Map<Operation, Flush[]>()
  #sizeBytes: number
  #readBytes = 0
  #writtenBytes = 0
  #opsLeft = 0
  #whenIdle: (() => void) | null = null
  #closed: Promise<void> | null = null

  constructor(parts: VolumeParts) {
    const { env, observer, config, mds, requests, lease } = parts
    const { volume } = lease
    this.#parts = parts
    this.#requests = requests
    this.#sizeBytes = wholeBlocks(volume.sizeBytes)
    this.#segments = new Segments(env, config, mds, requests, segmentsOf(this.#sizeBytes))
    const layout = new Layout(volume.stripeUnitBytes, volume.stripeCount)
    this.#io = new VolumeIo(layout, requests, this.#segments)
    this.#aligned = new AlignedIo(this.#io)
    this.#admission = new Admission(env.clock, config)
    this.#admission.setLimits(volume.iopsMax, volume.bytesPerSecondMax)
    this.#metrics = new VolumeMetrics(observer, volume.name)
    requests.onFenced = (error) => this.#fenced(error)
    requests.onStale = () => this.#lease.renewNow()
    const { opener, leaseSentMs } = parts
    this.#lease = new LeaseKeeper(env.clock, observer, mds, opener, lease, leaseSentMs, {
      renewed: (renewed) => this.#renewed(renewed),
      ended: (error) => this.#fenced(error),
    })
  }

  /** As the MDS told last. */
  get info(): VolumeInfo {
    return this.#lease.lease.volume
  }
  get sizeBytes(): number {
    return this.#sizeBytes
  }
  get readOnly(): boolean {
    return this.#parts.opener.mode === 'read'
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#begin('read', offset, length, EMPTY, (error, bytes) => {
        if (error === null) resolve(bytes)
        else reject(error)
      })
    })
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#change('write', offset, bytes.byteLength, bytes)
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#change('zero', offset, length, EMPTY)
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#change('zero', offset, length, EMPTY)
  }

  flush(): Promise<void> {
    if (this.#requests.ended !== null) return Promise.reject(this.#requests.ended)
    if (this.#changes.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const flush: Flush = { left: this.#changes.size, resolve }
      for (const flushes of this.#changes.values()) flushes.push(flush)
    })
  }

  async extents(offset: number, length: number): Promise<Extent[]> {
    const refusal = this.#refusalOf('read', offset, length)
    if (refusal !== null) throw refusal
    if (length === 0) return []
    const head = offset % BLOCK_BYTES
    const whole = Math.ceil((head + length) / BLOCK_BYTES) * BLOCK_BYTES
    const extents = await this.#io.extents(offset - head, whole)
    return extents.map((extent) => clipped(extent, offset, offset + length))
  }

  stats(): VolumeStats {
    return {
      state: this.#requests.ended !== null ? 'ended' : this.#closed !== null ? 'closing' : 'open',
      epoch: this.#requests.epoch,
      leaseLeftMs: this.readOnly ? 0 : Math.round(this.#lease.leftMs),
      inflightOps: this.#admission.ops,
      inflightBytes: this.#admission.bytes,
      waitingOps: this.#admission.waitingOps,
      retries: this.#requests.retries,
      readBytes: this.#readBytes,
      writtenBytes: this.#writtenBytes,
      reads: latencyOf(this.#readUs),
      writes: latencyOf(this.#writeUs),
    }
  }

  /** Requests that are older than `ageMs`, with what they wait for; the oldest first. */
  waits(ageMs: number): Wait[] {
    const untilMs = this.#parts.env.clock.monotonicMs() - ageMs
    const waits = this.#segments.waits(untilMs)
    for (const call of this.#requests.live) if (call.startedMs <= untilMs) waits.push(call.wait())
    return waits.sort((a, b) => a.sinceMs - b.sinceMs)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Makes the copysets of the volume refuse writers before this one; waits a bounded time for it. */
  async fencePredecessors(): Promise<void> {
    const { env, config } = this.#parts
    const fenced = new Set<number>()
    let isLate = false
    const timer = env.clock.after(config.fenceWaitMs, () => {
      isLate = true
      for (const end of [...waiting]) end()
    })
    const waiting = new Set<() => void>()
    const fence = (group: number): Promise<void> =>
      new Promise((resolve) => {
        waiting.add(resolve)
        this.#requests.fence(group, () => {
          waiting.delete(resolve)
          resolve()
        })
      })
    for await (const segments of this.#segments.all(this.info.segmentsAllocated)) {
      const groups = new Set(segments.flatMap((segment) => segment.groups))
      const left = [...groups].filter((group) => !fenced.has(group)).sort((a, b) => a - b)
      for (let at = 0; at < left.length && !isLate; at += config.fencesAtOnceMax) {
        const some = left.slice(at, at + config.fencesAtOnceMax)
        await Promise.all(some.map(fence))
        for (const group of some) fenced.add(group)
      }
      if (isLate) break
    }
    timer.cancel()
    if (this.#requests.ended !== null) throw this.#requests.ended
  }

  // --- operations

  #change(
    kind: 'write' | 'zero',
    offset: number,
    length: number,
    bytes: Uint8Array,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#begin(kind, offset, length, bytes, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  #begin(
    kind: OperationKind,
    offset: number,
    length: number,
    bytes: Uint8Array,
    done: (error: LemnisError | null, bytes: Uint8Array) => void,
  ): void {
    const refusal = this.#refusalOf(kind, offset, length)
    if (refusal !== null || length === 0) {
      done(refusal, EMPTY)
      return
    }
    const nowMs = this.#parts.env.clock.monotonicMs()
    const operation = new Operation(this, kind, offset, length, bytes, nowMs, done)
    this.#opsLeft++
    if (kind !== 'read') this.#changes.set(operation, [])
    if (this.#admission.enter(operation)) return
    operation.refused(new LemnisError('OVERLOADED', { waiting: this.#admission.waitingOps }))
  }

  #refusalOf(kind: OperationKind, offset: number, length: number): LemnisError | null {
    if (this.#requests.ended !== null) return this.#requests.ended
    if (this.#closed !== null) return new LemnisError('CLOSED', { volume: this.info.name })
    const areNumbers = Number.isSafeInteger(offset) && Number.isSafeInteger(length)
    if (!areNumbers || offset < 0 || length < 0 || offset + length > this.#sizeBytes) {
      const detail = { reason: 'out of range', offset, length, sizeBytes: this.#sizeBytes }
      return new LemnisError('INVALID_ARGUMENT', detail)
    }
    if (kind !== 'read' && this.readOnly) {
      return new LemnisError('INVALID_ARGUMENT', { reason: 'opened for reading only' })
    }
    return null
  }

  /** Called by an operation that was admitted. */
  run(operation: Operation): void {
    const { kind, offset, length, payload } = operation
    if (kind === 'read')
      this.#aligned.read(offset, length, (error, read) => operation.over(error, read))
    else if (kind === 'write') {
      this.#aligned.write(offset, payload, (error) => operation.over(error, EMPTY))
    } else {
      this.#aligned.zero(offset, length, (error) => operation.over(error, EMPTY))
    }
  }

  /** Called by an operation that is over, after it was admitted or refused. */
  left(operation: Operation, error: LemnisError | null, wasAdmitted: boolean): void {
    const { kind, length } = operation
    if (kind !== 'read') this.#releaseFlushes(operation)
    if (error === null) this.#count(kind, length, operation.startedMs)
    else this.#metrics.failed()
    if (wasAdmitted) this.#admission.leave(operation.bytes)
    if (--this.#opsLeft === 0) this.#whenIdle?.()
  }

  #releaseFlushes(operation: Operation): void {
    const flushes = this.#changes.get(operation) ?? []
    this.#changes.delete(operation)
    for (const flush of flushes) if (--flush.left === 0) flush.resolve()
  }

  #count(kind: OperationKind, length: number, startedMs: number): void {
    const tookMs = this.#parts.env.clock.monotonicMs() - startedMs
    if (kind === 'read') {
      this.#readUs.record(tookMs * 1000)
      this.#metrics.read(length, tookMs)
      this.#readBytes += length
    } else if (kind === 'write') {
      this.#writeUs.record(tookMs * 1000)
      this.#metrics.wrote(length, tookMs)
      this.#writtenBytes += length
    }
  }

  // --- the lease

  #renewed(lease: Lease): void {
    const { volume } = lease
    this.#requests.sn = Math.max(this.#requests.sn, volume.sn)
    if (this.readOnly) this.#requests.epoch = Math.max(this.#requests.epoch, lease.epoch)
    this.#admission.setLimits(volume.iopsMax, volume.bytesPerSecondMax)
    const sizeBytes = wholeBlocks(volume.sizeBytes)
    if (sizeBytes <= this.#sizeBytes) return
    this.#sizeBytes = sizeBytes
    this.#segments.count = segmentsOf(sizeBytes)
    this.#parts.observer.emit('client_volume_resized', { volume: volume.id, sizeBytes })
    this.#parts.events.onResize?.(sizeBytes)
  }

  /** Ends the volume at once, and then says who has it now, as far as the MDS knows. */
  #fenced(error: LemnisError): void {
    if (this.#requests.ended !== null) return
    this.#end(error)
    void this.#tellFenced(error)
  }

  async #tellFenced(error: LemnisError): Promise<void> {
    const { mds, observer, events, config } = this.#parts
    const { name, id } = this.info
    const options = { isRepeatable: true, patienceMs: config.mdsTimeoutMs }
    const now = await mds.ask(SHOW_VOLUME, { name }, options).catch(orNull)
    const holder = now?.id === id ? now.holder : undefined
    const who = holder === undefined ? {} : { holder: holder.client, address: holder.address }
    const told = new LemnisError(error.code, { ...error.detail, volume: name, ...who }, error)
    if (this.#requests.ended === error) this.#requests.ended = told
    observer.emit('client_volume_fenced', { volume: id, name, ...who })
    events.onFenced?.(told)
  }

  #end(error: LemnisError): void {
    this.#lease.close()
    this.#admission.refuseAll(error)
    this.#requests.end(error)
    this.#segments.end(error)
  }

  async #close(): Promise<void> {
    const { mds, opener, config, env, onClosed } = this.#parts
    await this.#idle(env, config.closeGraceMs)
    const wasOpen = this.#requests.ended === null
    this.#end(new LemnisError('CLOSED', { volume: this.info.name }))
    if (wasOpen && !this.readOnly) {
      const request = { volume: this.info.id, client: opener.client, epoch: this.#requests.epoch }
      const options = { isRepeatable: true, patienceMs: config.mdsTimeoutMs }
      // In vain it only means that the next writer waits for the lease to end.
      await mds.ask(CLOSE_VOLUME, request, options).catch(orNull)
    }
    onClosed(this)
  }

  /** Resolves when nothing is under way any more, or has been for too long. */
  #idle(env: Env, graceMs: number): Promise<void> {
    if (this.#opsLeft === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = env.clock.after(graceMs, resolve)
      this.#whenIdle = () => {
        timer.cancel()
        resolve()
      }
    })
  }
}

function wholeBlocks(bytes: number): number {
  return bytes - (bytes % BLOCK_BYTES)
}

function segmentsOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SEGMENT_BYTES)
}

function clipped(extent: Extent, from: number, to: number): Extent {
  const offset = Math.max(extent.offset, from)
  return { ...extent, offset, length: Math.min(extent.offset + extent.length, to) - offset }
}

function latencyOf(histogram: Histogram): LatencyStats {
  return {
    count: histogram.count,
    p50Us: histogram.percentile(0.5),
    p99Us: histogram.percentile(0.99),
    maxUs: histogram.max,
  }
}
