// Owns what a chunkserver feels of itself once a second: how long its disk takes for a durable write
// (it writes a block itself when nobody else does, so that an idle disk is known too), and how long
// clients wait, from which the rate of rebuilding follows. Heartbeats carry the former to the MDS, which
// compares disks with each other.

import type { CopysetHost } from '../copyset/host.ts'
import type { Clock, Timer } from '../env/clock.ts'
import { DISK_BLOCK_BYTES, type DiskFile } from '../env/disk.ts'
import { every } from '../env/every.ts'
import type { DiskWindow, RecoveryReport } from '../format/control/parts.ts'
import type { Observer } from '../observe/observe.ts'
import type { ChunkserverConfig } from './config.ts'
import {
  nextRate,
  type RecoveryLimits,
  type RecoveryRate,
  recoveryLimits,
  startRate,
} from './recovery-rate.ts'
import type { TimedDisk } from './timed-disk.ts'

export interface PulseOptions {
  readonly clock: Clock
  readonly observer: Observer
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly timed: TimedDisk
  /** Of the disk, for the block that is written when nothing else is. */
  readonly directory: string
  /** 99 of 100 writes of clients since the last call took at most so long; 0 for no write. */
  readonly takeWriteP99Us: () => number
  readonly takeReadP99Us: () => number
}

const SECOND_MS = 1000
/** Heartbeats that come late carry the newest ones only. */
const WINDOWS_MAX = 64
const PROBE = 'probe'

export class Pulse {
  readonly #options: PulseOptions
  readonly #limits: RecoveryLimits
  #windows: DiskWindow[] = []
  #writeP99Us = 0
  #rate: RecoveryRate
  /** State that was sent and taken in up to the last second, and in it. */
  #before = { sent: 0, received: 0 }
  #perSecond = { sent: 0, received: 0 }
  #probe: DiskFile | null = null
  #probing: Promise<void> | null = null
  #probeErrors = 0
  readonly #timer: Timer
  #closed = false

  constructor(options: PulseOptions) {
    const { observer, host, config } = options
    this.#options = options
    this.#limits = recoveryLimits(config, host.config.transferBytesPerSecond)
    this.#rate = startRate(this.#limits)
    observer.gauge('chunkserver_recovery_limit_bytes', () => this.#rate.bytesPerSecond)
    observer.gauge('chunkserver_recovery_sent_bytes', () => this.#perSecond.sent)
    observer.gauge('chunkserver_recovery_received_bytes', () => this.#perSecond.received)
    this.#timer = every(options.clock, SECOND_MS, () => this.#beat())
  }

  /** Since the last call, oldest first. */
  takeWindows(): DiskWindow[] {
    const windows = this.#windows
    this.#windows = []
    return windows
  }

  /** The worst second's since the last call. */
  takeWriteP99Us(): number {
    const p99Us = Math.max(this.#writeP99Us, this.#options.takeWriteP99Us())
    this.#writeP99Us = 0
    return p99Us
  }

  get recovery(): RecoveryReport {
    return {
      limitBytesPerSecond: this.#rate.bytesPerSecond,
      sentBytesPerSecond: this.#perSecond.sent,
      receivedBytesPerSecond: this.#perSecond.received,
    }
  }

  /** Writes of its own that failed. */
  get errors(): number {
    return this.#probeErrors
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer.cancel()
    await this.#probing
    await this.#probe?.close()
  }

  #beat(): void {
    const window = this.#options.timed.takeWindow(SECOND_MS)
    if (window !== null) {
      this.#windows.push(window)
      if (this.#windows.length > WINDOWS_MAX) this.#windows.shift()
    }
    // The one write of a second may have been this one's own.
    if (window === null || window.writes === 1) this.#write()
    this.#adapt()
  }

  #adapt(): void {
    const { host, takeWriteP99Us, takeReadP99Us } = this.#options
    const writeUs = takeWriteP99Us()
    const readUs = takeReadP99Us()
    this.#writeP99Us = Math.max(this.#writeP99Us, writeUs)
    const now = host.transferBytes()
    this.#perSecond = {
      sent: now.sent - this.#before.sent,
      received: now.received - this.#before.received,
    }
    this.#before = now
    const isBusy = this.#perSecond.sent + this.#perSecond.received > 0
    const second = { writeUs: orNull(writeUs), readUs: orNull(readUs), isBusy }
    this.#rate = nextRate(this.#rate, second, this.#limits)
    host.limitTransfers(this.#rate.bytesPerSecond)
  }

  /** One at a time: one that hangs is a write that is under way. */
  #write(): void {
    if (this.#probing !== null) return
    this.#probing = this.#writeProbe()
      .catch(() => {
        this.#probeErrors++
        // A file whose write failed may be in any state: it is opened anew for the next one.
        const failed = this.#probe
        this.#probe = null
        return failed?.close().catch(() => {})
      })
      .finally(() => {
        this.#probing = null
      })
  }

  async #writeProbe(): Promise<void> {
    const { timed, directory } = this.#options
    this.#probe ??= await timed.open(`${directory}/${PROBE}`, { create: true, durable: true })
    if (this.#closed) return
    await this.#probe.write(timed.allocate(DISK_BLOCK_BYTES), 0)
  }
}

/** 0 says that there was none. */
function orNull(us: number): number | null {
  return us === 0 ? null : us
}
