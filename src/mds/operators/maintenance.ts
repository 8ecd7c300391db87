// Owns maintenance: a time in which people work on the cluster and said so. While it lasts nothing is
// moved and nobody's silence counts; it ends by itself, and everybody then has a whole time to be
// heard in. Recorded, so that another MDS keeps it; its end is counted by the clock that does not jump.

import { LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import type { RequestOf } from '../../format/control/call.ts'
import type { Maintenance as Period, SET_MAINTENANCE } from '../../format/control/operators.ts'
import type { Observer } from '../../observe/observe.ts'
import type { Reports } from '../reports.ts'
import type { Topology } from '../topology/topology.ts'

/** Longer ones are forgotten ones. */
const LONGEST_MS = 7 * 24 * 60 * 60 * 1000

export class Maintenance {
  readonly #env: Env
  readonly #observer: Observer
  readonly #topology: Topology
  readonly #reports: Reports
  /** The period that #endsMs is of. */
  #known: Period | undefined
  /** By this MDS's monotonic clock. */
  #endsMs = 0

  constructor(env: Env, observer: Observer, topology: Topology, reports: Reports) {
    this.#env = env
    this.#observer = observer
    this.#topology = topology
    this.#reports = reports
  }

  /** The period that lasts now, or null. */
  get current(): Period | null {
    const { maintenance } = this.#topology.cluster
    if (maintenance === undefined) return null
    const { clock } = this.#env
    const nowMs = clock.monotonicMs()
    if (this.#known !== maintenance) {
      this.#known = maintenance
      const leftMs = Math.min(LONGEST_MS, maintenance.untilMs - clock.wallMs())
      this.#endsMs = nowMs + leftMs
    }
    return nowMs < this.#endsMs ? maintenance : null
  }

  /** Of the current period. */
  get leftMs(): number {
    return this.current === null ? 0 : this.#endsMs - this.#env.clock.monotonicMs()
  }

  async set({ untilMs, reason, by }: RequestOf<typeof SET_MAINTENANCE>): Promise<Period> {
    const sinceMs = this.#env.clock.wallMs()
    if (untilMs <= sinceMs || untilMs > sinceMs + LONGEST_MS) {
      const says = 'maintenance must end in the future, and within 7 days'
      throw new LemnisError('INVALID_ARGUMENT', { untilMs, reason: says })
    }
    const topology = this.#topology
    const period = await topology.ledger.change(() => {
      const draft = topology.draft()
      const maintenance: Period = {
        sinceMs: this.current?.sinceMs ?? sinceMs,
        untilMs,
        reason,
        by,
      }
      draft.patchCluster({ maintenance })
      return draft.write(() => maintenance)
    })
    this.#reports.pardon()
    this.#observer.emit('mds_maintenance_begun', { untilMs, reason, by })
    return period
  }

  async end(): Promise<void> {
    const topology = this.#topology
    await topology.ledger.change(() => {
      const { maintenance, ...cluster } = topology.cluster
      const draft = topology.draft()
      if (maintenance === undefined) return draft.write(() => {})
      draft.replaceCluster(cluster)
      return draft.write(() => {
        const { reason, by } = maintenance
        this.#observer.emit('mds_maintenance_ended', { reason, by })
      })
    })
  }

  /** With each pass: nobody's silence counts meanwhile, and what is over is forgotten. */
  async tick(): Promise<void> {
    if (this.#topology.cluster.maintenance === undefined) return
    this.#reports.pardon()
    if (this.current === null) await this.end()
  }
}
