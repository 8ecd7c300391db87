// Owns the person who changes the shape of the simulated block cluster while everything goes wrong:
// drains chunkservers or thinks better of it, adds one, works on the cluster and says so, cancels
// operators, evens out leaders, and puts new disks in where a chunkserver has retired. In the end nothing
// is left of what was asked for.

import { asLemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import type { LemnisClient } from '../client/client.ts'
import type { Clock } from '../env/clock.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import { LIST_CHUNKSERVERS } from '../format/control/mds.ts'
import {
  CANCEL_OPERATOR,
  END_MAINTENANCE,
  LIST_OPERATORS,
  SET_MAINTENANCE,
  SET_SCHEDULER,
  START_LEADER_BALANCE,
} from '../format/control/operators.ts'
import type { Chunkserver } from '../format/control/parts.ts'
import { CLEAR_SLOW, DRAIN } from '../format/control/topology.ts'
import type { SimHost } from './host.ts'
import type { World } from './world.ts'

export interface BlockAdminOptions {
  readonly world: World
  readonly host: SimHost
  readonly random: Prng
  /** One more chunkserver; does nothing the second time. */
  readonly add: () => void
  /** A chunkserver has retired: whatever has its disk gets another one. */
  readonly onRetired: (id: number) => void
}

const GAP_US = { min: 200_000, max: 2_000_000 }
const POLL_US = 300_000
const DAY_MS = 24 * 60 * 60 * 1000
const BY = 'admin'
/** Some of the work that is planned at leisure; what mends is left on. */
const LEISURE = ['balance', 'leaders', 'drain'] as const

export class BlockAdmin {
  readonly #options: BlockAdminOptions
  readonly #random: Prng
  readonly #counts = new Map<string, number>()
  #isActive = false
  #isQuiet = false
  #maintainedUntilUs = 0

  constructor(options: BlockAdminOptions) {
    this.#options = options
    this.#random = options.random
  }

  /** Whether nothing of what was asked for is left, after makePeace(). */
  get isQuiet(): boolean {
    return this.#isQuiet
  }
  /** What was done, by name. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  start(): void {
    this.#isActive = true
  }

  makePeace(): void {
    this.#isActive = false
  }

  async run(client: LemnisClient, clock: Clock): Promise<void> {
    while (!this.#isActive) await this.#sleep(POLL_US)
    while (this.#isActive) {
      await this.#sleep(this.#random.between(GAP_US.min, GAP_US.max))
      if (this.#isActive) await this.#act(client, clock)
    }
    while (!(await this.#tidyUp(client))) await this.#sleep(POLL_US)
    this.#isQuiet = true
  }

  async #act(client: LemnisClient, clock: Clock): Promise<void> {
    const chunkservers = await this.#present(client)
    const dice = this.#random.below(20)
    if (dice < 5) await this.#drain(client, chunkservers)
    else if (dice < 9) await this.#maintain(client, clock)
    else if (dice < 13) await this.#cancel(client)
    else if (dice < 16) await this.#ask(client, START_LEADER_BALANCE, {})
    else if (dice < 18) await this.#switch(client)
    else if (dice < 19) await this.#clearSlow(client, chunkservers)
    else this.#options.add()
  }

  /** Those that are not retired; null without an answer. */
  async #present(client: LemnisClient): Promise<readonly Chunkserver[] | null> {
    const reply = await this.#ask(client, LIST_CHUNKSERVERS, {})
    if (reply === null) return null
    for (const { id, state } of reply.chunkservers) {
      if (state === 'retired') this.#options.onRetired(id)
    }
    return reply.chunkservers.filter(({ state }) => state !== 'retired')
  }

  /** One at a time; as often as not it is thought better of. */
  async #drain(client: LemnisClient, known: readonly Chunkserver[] | null): Promise<void> {
    if (known === null || known.length === 0) return
    const draining = known.find((one) => one.draining !== undefined)
    const { id } = draining ?? this.#random.pick(known)
    const on = draining === undefined
    if (!on && this.#random.chance(0.5)) return
    await this.#ask(client, DRAIN, { what: 'chunkserver', chunkserver: id, on })
  }

  /** For days, ended by word; or for a moment, ended by itself. */
  async #maintain(client: LemnisClient, clock: Clock): Promise<void> {
    const { world } = this.#options
    if (world.nowUs < this.#maintainedUntilUs) return
    if (this.#maintainedUntilUs > 0) {
      this.#maintainedUntilUs = 0
      await this.#ask(client, END_MAINTENANCE, {})
      return
    }
    const isLong = this.#random.chance(0.6)
    const forMs = isLong ? 5 * DAY_MS : this.#random.between(500, 3000)
    const untilMs = clock.wallMs() + forMs
    await this.#ask(client, SET_MAINTENANCE, { untilMs, reason: 'new cables', by: BY })
    this.#maintainedUntilUs = world.nowUs + this.#random.between(500_000, 4_000_000)
  }

  async #cancel(client: LemnisClient): Promise<void> {
    const reply = await this.#ask(client, LIST_OPERATORS, { state: 'active' })
    if (reply === null || reply.operators.length === 0) return
    await this.#ask(client, CANCEL_OPERATOR, { id: this.#random.pick(reply.operators).id })
  }

  async #switch(client: LemnisClient): Promise<void> {
    const name = this.#random.pick([...LEISURE])
    await this.#ask(client, SET_SCHEDULER, { name, on: this.#random.chance(0.7) })
  }

  async #clearSlow(client: LemnisClient, known: readonly Chunkserver[] | null): Promise<void> {
    for (const { id, slow } of known ?? []) {
      if (slow !== undefined) await this.#ask(client, CLEAR_SLOW, { chunkserver: id })
    }
  }

  // --- the end

  /** True when nobody is drained or slow, all may move, and nothing is moved at leisure any more. */
  async #tidyUp(client: LemnisClient): Promise<boolean> {
    const chunkservers = await this.#present(client)
    if (chunkservers === null || (await this.#ask(client, END_MAINTENANCE, {})) === null)
      return false
    let isTidy = true
    for (const { id, draining, slow } of chunkservers) {
      if (draining === undefined && slow === undefined) continue
      isTidy = false
      if (draining === undefined) await this.#ask(client, CLEAR_SLOW, { chunkserver: id })
      else await this.#ask(client, DRAIN, { what: 'chunkserver', chunkserver: id, on: false })
    }
    if (!isTidy) return false
    for (const name of LEISURE) {
      const isOff = await this.#ask(client, SET_SCHEDULER, { name, on: false })
      if (isOff === null) return false
    }
    return true
  }

  // --- helpers

  #sleep(us: number): Promise<void> {
    const { world, host } = this.#options
    return new Promise((resolve) => void world.after(us, 'admin', resolve, host))
  }

  /** Null for a refusal or no answer: what came of it is looked up, or does not matter. */
  async #ask<C extends ControlCall>(
    client: LemnisClient,
    call: C,
    request: RequestOf<C>,
  ): Promise<ReplyOf<C> | null> {
    try {
      const reply = await client.ask(call, request, true)
      this.#counts.set(call.name, (this.#counts.get(call.name) ?? 0) + 1)
      return reply
    } catch (thrown) {
      const error = asLemnisError(thrown)
      if (error.code === 'INTERNAL') throw error
      return null
    }
  }
}
