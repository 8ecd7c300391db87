// Owns where the segments of one open volume lie, as the MDS has told. Needs for the same segment share
// one call. A segment that is not allocated reads as zeros without asking anybody: a writer is sure of
// it, as nobody else can allocate for its volume (the MDS refuses older epochs); a reader asks again
// after a while.

import { asLemnisError, type ErrorCode, type LemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'
import { GET_SEGMENTS } from '../format/control/mds.ts'
import type { Segment } from '../format/control/parts.ts'
import type { ClientConfig } from './config.ts'
import type { MdsCaller } from './mds-caller.ts'
import type { Requests, Wait } from './requests.ts'

/** The segment, or null when it is not allocated. */
export type SegmentDone = (error: LemnisError | null, segment: Segment | null) => void

/** A call about one segment that is under way, and who waits for it. */
interface Asking {
  readonly sinceMs: number
  readonly waiting: SegmentDone[]
  /** What its last try met, for people. */
  lastCode: ErrorCode | null
}

/** A look at one segment brings its neighbours in an aligned window of so many: reads go on there. */
const WINDOW = 16

export class Segments {
  /** Segments that the volume's size has room for. */
  count: number
  readonly #env: Env
  readonly #config: ClientConfig
  readonly #mds: MdsCaller
  readonly #requests: Requests
  readonly #known = new Map<number, Segment>()
  /** When a segment was found to be absent. */
  readonly #absent = new Map<number, number>()
  readonly #looks = new Map<number, Asking>()
  readonly #allocations = new Map<number, Asking>()

  constructor(env: Env, config: ClientConfig, mds: MdsCaller, requests: Requests, count: number) {
    this.count = count
    this.#env = env
    this.#config = config
    this.#mds = mds
    this.#requests = requests
  }

  /** Null is not allocated, undefined unknown. */
  known(index: number): Segment | null | undefined {
    const segment = this.#known.get(index)
    if (segment !== undefined) return segment
    const absentMs = this.#absent.get(index)
    if (absentMs === undefined) return undefined
    if (!this.#requests.policy.isReader) return null
    const ageMs = this.#env.clock.monotonicMs() - absentMs
    return ageMs < this.#config.absentSegmentMs ? null : undefined
  }

  /** Looks it up. */
  find(index: number, done: SegmentDone): void {
    if (this.#join(this.#looks, index, done)) return
    const from = index - (index % WINDOW)
    this.#get(from, Math.min(from + WINDOW, Math.max(index + 1, this.count)), false).then(
      () => this.#settle(this.#looks, index, null),
      (error: unknown) => this.#settle(this.#looks, index, asLemnisError(error)),
    )
  }

  /** Makes it if it is not there. */
  allocate(index: number, done: SegmentDone): void {
    if (this.#join(this.#allocations, index, done)) return
    this.#allocated(index).then(
      () => this.#settle(this.#allocations, index, null),
      (error: unknown) => this.#settle(this.#allocations, index, asLemnisError(error)),
    )
  }

  /** All segments, page by page, of a volume of which `allocated` are. */
  async *all(allocated: number): AsyncGenerator<readonly Segment[]> {
    const { segmentsPerCallMax } = this.#config
    let found = 0
    for (let from = 0; from < this.count && found < allocated; from += segmentsPerCallMax) {
      const segments = await this.#get(from, Math.min(this.count, from + segmentsPerCallMax), false)
      found += segments.length
      yield segments
    }
  }

  /** What has been under way since `untilMs` or longer. */
  waits(untilMs: number): Wait[] {
    const { volume } = this.#requests
    const about = (verb: string, asked: ReadonlyMap<number, Asking>): Wait[] =>
      [...asked]
        .filter(([, { sinceMs }]) => sinceMs <= untilMs)
        .map(([index, { sinceMs, lastCode }]) => ({
          what: `${verb} segment ${index} of volume ${volume}`,
          waitsFor:
            lastCode === null ? 'an MDS that answers' : `chunkservers with room, after ${lastCode}`,
          sinceMs,
        }))
    return [...about('look for', this.#looks), ...about('allocate', this.#allocations)]
  }

  /** Fails all that wait. */
  end(error: LemnisError): void {
    for (const asked of [this.#looks, this.#allocations]) {
      for (const index of [...asked.keys()]) this.#settle(asked, index, error)
    }
  }

  /** True when somebody asks already. */
  #join(asked: Map<number, Asking>, index: number, done: SegmentDone): boolean {
    const asking = asked.get(index)
    if (asking === undefined) {
      const sinceMs = this.#env.clock.monotonicMs()
      asked.set(index, { sinceMs, waiting: [done], lastCode: null })
      return false
    }
    asking.waiting.push(done)
    return true
  }

  #settle(asked: Map<number, Asking>, index: number, error: LemnisError | null): void {
    const asking = asked.get(index)
    asked.delete(index)
    for (const done of asking?.waiting ?? []) done(error, this.#known.get(index) ?? null)
  }

  /** Waits while nothing can be placed, unless the caller would rather hear of it. */
  async #allocated(index: number): Promise<void> {
    const { backoffMinMs, backoffMaxMs } = this.#config
    for (let pauseMs = backoffMinMs; ; pauseMs = Math.min(backoffMaxMs, 2 * pauseMs)) {
      try {
        await this.#get(index, index + 1, true)
        return
      } catch (thrown) {
        const error = asLemnisError(thrown)
        const isFull = error.code === 'UNPLACEABLE' || error.code === 'NO_SPACE'
        if (!isFull || this.#requests.policy.failsWhenFull) throw error
        this.#requests.retried(error.code)
        const asking = this.#allocations.get(index)
        if (asking !== undefined) asking.lastCode = error.code
        if (this.#requests.ended !== null) throw this.#requests.ended
        await new Promise<void>((resolve) => {
          this.#env.clock.after(pauseMs, resolve)
        })
      }
    }
  }

  async #get(from: number, to: number, allocate: boolean): Promise<readonly Segment[]> {
    const requests = this.#requests
    const { volume, epoch } = requests
    // For as long as the volume is open, or as its policy says.
    const patienceMs = requests.policy.noQuorumMs
    const isWanted = (): boolean => requests.ended === null
    const options = { isRepeatable: true, patienceMs, isWanted }
    const reply = await this.#mds.ask(GET_SEGMENTS, { volume, epoch, from, to, allocate }, options)
    const nowMs = this.#env.clock.monotonicMs()
    for (const segment of reply.segments) {
      this.#known.set(segment.index, segment)
      this.#absent.delete(segment.index)
    }
    for (let index = from; index < to; index++) {
      if (!this.#known.has(index)) this.#absent.set(index, nowMs)
    }
    return reply.segments
  }
}
