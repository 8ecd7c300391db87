// Owns the person who runs the simulated block cluster: makes the pool and the volumes, lets them grow,
// has them taken over, deletes, restores and ends them while everything goes wrong, and in the end asks
// the cluster whether it is whole. What came of a command without an answer is looked up.

import { must } from '../base/assert.ts'
import { asLemnisError, type LemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import { GIB, KIB, MIB } from '../base/units.ts'
import type { LemnisClient } from '../client/client.ts'
import { SEGMENT_BYTES } from '../format/chunk-request.ts'
import {
  CREATE_POOL,
  GET_SEGMENTS,
  LIST_CHUNKSERVERS,
  LIST_COPYSETS,
  START_SCRUB,
  STATUS,
} from '../format/control/mds.ts'
import type { Copyset, Volume as VolumeInfo } from '../format/control/parts.ts'
import type { BlockClients } from './block-clients.ts'
import { type BlockModel, VolumeModel } from './block-model.ts'
import type { SimHost } from './host.ts'
import type { World } from './world.ts'

export interface BlockOperatorOptions {
  readonly world: World
  readonly host: SimHost
  readonly random: Prng
  readonly model: BlockModel
  readonly clients: BlockClients
  readonly copysets: number
  readonly servers: number
  /** Whether the recycle bin lets go of volumes by itself within a run. */
  readonly expires: boolean
}

const VOLUMES_MIN = 2
const VOLUMES_MAX = 4
const POLL_US = 200_000
const GAP_US = { min: 100_000, max: 1_500_000 }
const REPLICAS = 3

/** Ids of the chunks of a volume that is in use, as `[first, last]`. */
export type ChunkRange = readonly [number, number]

/** What the cluster says of itself when nothing moves any more. */
export interface Survey {
  readonly copysets: readonly Copyset[]
  readonly chunks: readonly ChunkRange[]
  readonly moving: number
  readonly deletedVolumes: number
}

export class BlockOperator {
  readonly #options: BlockOperatorOptions
  readonly #random: Prng
  #serial = 0
  #ready = false
  #peace = false
  #atRest = false
  #survey: Survey | null = null
  #scrubsAsked = 0
  #client: LemnisClient | null = null

  constructor(options: BlockOperatorOptions) {
    this.#options = options
    this.#random = options.random
  }

  /** Pool and first volumes are there. */
  get isReady(): boolean {
    return this.#ready
  }
  /** After makePeace(): every volume is either in use or on its way out. */
  get isAtRest(): boolean {
    return this.#atRest
  }
  get survey(): Survey | null {
    return this.#survey
  }
  get scrubsAsked(): number {
    return this.#scrubsAsked
  }

  /** No more commands but those that tidy up. */
  makePeace(): void {
    this.#peace = true
  }

  async run(client: LemnisClient): Promise<void> {
    this.#client = client
    await this.#setUp(client)
    while (!this.#peace) {
      await this.#sleep(this.#random.between(GAP_US.min, GAP_US.max))
      await this.#refresh(client)
      if (!this.#peace) await this.#act(client)
    }
    await this.#tidyUp(client)
    for (;;) {
      await this.#lookAround(client)
      // A deletion that nobody heard of may have waited for the lease of a writer until now.
      const isLate = (this.#survey?.deletedVolumes ?? 0) > 0
      if (isLate) await attempt(client.volumes.emptyTrash())
      await this.#sleep(POLL_US)
    }
  }

  /** Orders a scrub; `scrubsAsked` says when it was taken. */
  scrub(): void {
    const { world, host } = this.#options
    const client = must(this.#client, 'the operator runs')
    const order = async (): Promise<void> => {
      await this.#insist(() => client.ask(START_SCRUB, {}, true))
      this.#scrubsAsked++
    }
    world.after(0, 'scrub', () => void order(), host)
  }

  // --- the beginning

  async #setUp(client: LemnisClient): Promise<void> {
    const { copysets, servers } = this.#options
    await this.#until(async () => {
      const { chunkservers } = await client.ask(LIST_CHUNKSERVERS, {}, true)
      return chunkservers.filter(({ state }) => state === 'online').length >= servers
    })
    await client.ask(CREATE_POOL, { name: 'default', replicas: REPLICAS, copysets }, false)
    await this.#until(async () => {
      const status = await client.ask(STATUS, {}, true)
      return status.copysets.ok === copysets
    })
    for (let i = 0; i < VOLUMES_MIN; i++) await this.#create(client)
    this.#ready = true
  }

  // --- in between

  async #act(client: LemnisClient): Promise<void> {
    const { model, clients } = this.#options
    const live = model.live()
    const dice = this.#random.below(20)
    if (live.length < VOLUMES_MIN) return this.#create(client)
    const volume = this.#random.pick(live)
    if (dice < 7) clients.takeOver(volume)
    else if (dice < 10) await this.#grow(client, volume)
    else if (dice < 12 && live.length < VOLUMES_MAX) await this.#create(client)
    else if (dice < 15) await this.#delete(client, volume)
    else if (dice < 18) await this.#restoreOne(client)
    else await this.#endOne(client)
  }

  async #create(client: LemnisClient): Promise<void> {
    const striped = this.#random.chance(0.3)
    const sizeBytes = this.#random.pick([1 * MIB, 64 * MIB, 2 * GIB])
    const volume = new VolumeModel(`v${++this.#serial}`, sizeBytes, striped)
    const stripes = striped ? { stripeUnitBytes: 64 * KIB, stripeCount: 4 } : {}
    const made = await attempt(client.volumes.create(volume.name, { sizeBytes, ...stripes }))
    // Without an answer it may be there, or come; it is of no use then, and ends with the trash.
    if (made === null) return
    volume.id = made.id
    volume.state = 'live'
    this.#options.model.volumes.push(volume)
  }

  async #grow(client: LemnisClient, volume: VolumeModel): Promise<void> {
    const sizeBytes = volume.sizeBytes + this.#random.pick([1 * MIB, 512 * MIB])
    if (sizeBytes > 4 * GIB) return
    const grown = await attempt(client.volumes.resize(volume.name, sizeBytes))
    if (grown !== null) volume.sizeBytes = grown.sizeBytes
  }

  /** Either after all have let go of it, or from under a writer, who may have lost his lease. */
  async #delete(client: LemnisClient, volume: VolumeModel): Promise<void> {
    const { clients, expires } = this.#options
    if (this.#random.chance(0.7)) {
      volume.resting = true
      clients.release(volume)
      await this.#sleep(this.#random.between(0, 500_000))
    }
    if (expires) volume.mayGo = true
    const deleted = await attempt(client.volumes.delete(volume.name))
    if (deleted !== null) volume.state = 'trash'
    // It may still wait for an MDS that was stopped.
    else if (volume.state === 'live') volume.mayGo = volume.isDoubtful = true
    volume.resting = false
    await this.#refresh(client)
  }

  async #restoreOne(client: LemnisClient): Promise<void> {
    const volume = this.#someOf('trash')
    if (volume === null) return
    await attempt(client.volumes.restore(volume.name, { id: volume.id }))
    await this.#refresh(client)
  }

  async #endOne(client: LemnisClient): Promise<void> {
    const volume = this.#someOf('trash')
    if (volume === null) return
    volume.mayGo = true
    await attempt(client.volumes.emptyTrash(volume.id))
    await this.#refresh(client)
  }

  #someOf(state: 'trash'): VolumeModel | null {
    const found = this.#options.model.volumes.filter((volume) => volume.state === state)
    return found.length === 0 ? null : this.#random.pick(found)
  }

  /** Brings the model to what the MDS has; without an answer it stays as it is. */
  async #refresh(client: LemnisClient): Promise<boolean> {
    const live = await attempt(client.volumes.list())
    const deleted = await attempt(client.volumes.listDeleted())
    if (live === null || deleted === null) return false
    for (const volume of this.#options.model.volumes) {
      const isMine = (info: VolumeInfo): boolean => info.id === volume.id
      if (live.some(isMine)) {
        volume.state = 'live'
        volume.mayGo = volume.isDoubtful
        continue
      }
      volume.isDoubtful = false
      volume.state = deleted.some(isMine) ? 'trash' : 'gone'
    }
    return true
  }

  // --- the end

  /** Volumes in the recycle bin come back, if they still can; then it is emptied. */
  async #tidyUp(client: LemnisClient): Promise<void> {
    const { model } = this.#options
    await this.#until(() => this.#refresh(client))
    for (const volume of model.volumes) {
      if (volume.state !== 'trash') continue
      await this.#until(async () => {
        await attempt(client.volumes.restore(volume.name, { id: volume.id }))
        return (await this.#refresh(client)) && volume.state !== 'trash'
      })
    }
    const known = new Set(model.volumes.map(({ id }) => id))
    const strangers = (await this.#insist(() => client.volumes.list())).filter(
      ({ id }) => !known.has(id),
    )
    for (const { name } of strangers) await attempt(client.volumes.delete(name))
    await this.#insist(() => client.volumes.emptyTrash())
    this.#atRest = true
  }

  async #lookAround(client: LemnisClient): Promise<void> {
    try {
      const status = await client.ask(STATUS, {}, true)
      const { copysets } = await client.ask(LIST_COPYSETS, { ids: [] }, true)
      const chunks: ChunkRange[] = []
      for (const { id, sizeBytes } of await client.volumes.list()) {
        const to = Math.ceil(sizeBytes / SEGMENT_BYTES)
        const request = { volume: id, epoch: 0, from: 0, to, allocate: false }
        const { segments } = await client.ask(GET_SEGMENTS, request, true)
        for (const { firstChunk, groups } of segments) {
          chunks.push([firstChunk, firstChunk + groups.length - 1])
        }
      }
      const moving = status.moving.length
      this.#survey = { copysets, chunks, moving, deletedVolumes: status.deletedVolumes }
    } catch (thrown) {
      asLemnisError(thrown)
    }
  }

  // --- patience

  #sleep(us: number): Promise<void> {
    const { world, host } = this.#options
    return new Promise((resolve) => void world.after(us, 'operator', resolve, host))
  }

  async #until(isSo: () => Promise<boolean>): Promise<void> {
    while ((await attempt(isSo())) !== true) await this.#sleep(POLL_US)
  }

  /** Asks again until there is an answer. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      const answer = await attempt(ask())
      if (answer !== null) return answer
      await this.#sleep(POLL_US)
    }
  }
}

/** Null for a refusal or no answer; any other error is thrown on. */
async function attempt<T>(asking: Promise<T>): Promise<T | null> {
  try {
    return await asking
  } catch (thrown) {
    // Throws what is no error of operation.
    const error: LemnisError = asLemnisError(thrown)
    if (error.code === 'INTERNAL') throw error
    return null
  }
}
