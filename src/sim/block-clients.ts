// Owns the client hosts of the simulated block cluster: on each a volume client that opens volumes, to
// read or to write, loses and takes them over, and through which the workload reads and writes blocks.
// Judges here what only a client can see: a writer is answered only while no newer one has opened, one
// that was superseded hears of it, and no error comes that heals by itself.

import { asLemnisError, type ErrorCode, type LemnisError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import { LemnisClient } from '../client/client.ts'
import type { ClientConfig } from '../client/config.ts'
import type { Volume } from '../client/volume.ts'
import type { Env } from '../env/env.ts'
import type { Address } from '../env/network.ts'
import { BLOCK_BYTES } from '../format/chunk-request.ts'
import type { Observer } from '../observe/observe.ts'
import { ABSENT_SEGMENT_MS } from './block-config.ts'
import {
  type BlockModel,
  blockOf,
  type Handle,
  isAlive,
  isVouchedFor,
  newest,
  type Register,
  segmentOf,
  type VolumeModel,
  valueOf,
  writersOf,
} from './block-model.ts'
import type { RegisterValue } from './history.ts'
import type { SimHost } from './host.ts'
import { Verdict } from './verdict.ts'
import type { Outcome, RegisterClient } from './workload.ts'
import type { World } from './world.ts'

export interface BlockClientsOptions {
  readonly world: World
  readonly model: BlockModel
  readonly hosts: readonly SimHost[]
  readonly random: Prng
  readonly mds: readonly Address[]
  readonly config: Partial<ClientConfig>
  readonly observerOf: (host: SimHost) => Observer
  /** Something is wrong with the system, or with this code. */
  readonly onFailed: (host: SimHost, error: unknown) => void
}

const MS = 1000
/** An operation without an answer by then has an unknown outcome. */
const PATIENCE_US = 4_000_000
const ROUND_US = { min: 50_000, max: 400_000 }
const CLIENT_COUNT = 8
const OPENS_ONE_IN = 3
const CLOSES_ONE_IN = 60
/** Of the absent segments of a reader, for clocks that run apart. */
const ABSENT_US = 2 * ABSENT_SEGMENT_MS * MS

/** What ends the use of a volume, by right. */
const ENDINGS: ReadonlySet<ErrorCode> = new Set(['FENCED', 'CLOSED', 'NOT_FOUND'])
/** What opening may be refused with, or fail by when the MDS is away. */
const OPENING: ReadonlySet<ErrorCode> = new Set([
  ...ENDINGS,
  'IN_USE',
  'DISCONNECTED',
  'DEADLINE_EXCEEDED',
  'OVERLOADED',
  'NOT_LEADER',
  'PROPOSAL_DROPPED',
])

interface HostLife {
  readonly generation: number
  readonly client: LemnisClient
}

export class BlockClients {
  readonly clients: readonly RegisterClient[]
  readonly #options: BlockClientsOptions
  readonly #random: Prng
  readonly #lives = new Map<SimHost, HostLife>()
  #resting = false
  #spared: Handle | null = null

  constructor(options: BlockClientsOptions) {
    this.#options = options
    this.#random = options.random
    this.clients = Array.from({ length: CLIENT_COUNT }, () => this.#registerClient())
  }

  /** The program of a client host. */
  boot(env: Env, host: SimHost): void {
    const { mds, config, observerOf } = this.#options
    const options = { mds, name: host.name, config }
    const client = new LemnisClient(env, observerOf(host), options)
    this.#lives.set(host, { generation: host.generation, client })
    this.#next(host)
  }

  /** Has some host take the volume from its writer, who is not asked. */
  takeOver(volume: VolumeModel, by: SimHost | null = null): void {
    const host = by ?? this.#random.pick(this.#options.hosts)
    this.#on(host, ({ client, generation }) => this.#open(host, generation, client, volume, true))
  }

  /** The workload leaves this one alone. */
  spare(handle: Handle | null): void {
    this.#spared = handle
  }

  /** Has a writer that a newer one has superseded write where it wrote before. */
  writeLate(handle: Handle): void {
    const { model } = this.#options
    const known = model.registersOf(handle.of)
    const written = known.filter((register) => handle.segments.has(segmentOf(register)))
    const { newestEpoch } = handle.of
    if (written.length === 0 || newestEpoch <= handle.epoch) return
    const { key, offset } = this.#random.pick(written)
    const act = (): Promise<void> => handle.volume.write(offset, blockOf(key, 'late'))
    this.#run(handle, `late put ${key}`, act, ({ outcome }) => {
      if (outcome === 'done') this.#judgeWriter(handle, newestEpoch)
    })
  }

  /** Nothing is opened or closed any more. */
  rest(): void {
    this.#resting = true
  }

  /** Lets go of the volume everywhere; writers say so to the MDS. */
  release(volume: VolumeModel): void {
    for (const handle of volume.alive()) this.#close(handle)
  }

  /** Writers that were superseded and do not know it. */
  deceived(): Handle[] {
    const found: Handle[] = []
    for (const volume of this.#options.model.volumes) {
      for (const handle of volume.alive()) {
        const isOld = handle.mode === 'write' && handle.epoch < volume.newestEpoch
        if (isOld && handle.endedBy === null) found.push(handle)
      }
    }
    return found
  }

  // --- what a host does by itself

  #next(host: SimHost): void {
    const { world } = this.#options
    const delayUs = this.#random.between(ROUND_US.min, ROUND_US.max)
    const round = (): void => {
      this.#round(host)
      this.#next(host)
    }
    world.after(delayUs, 'volumes', round, host)
  }

  #round(host: SimHost): void {
    if (this.#resting) return
    for (const volume of this.#options.model.live()) {
      const own = volume.alive().filter((handle) => handle.host === host)
      for (const handle of own) if (handle.endedBy !== null) this.#close(handle)
      const using = own.filter(({ endedBy }) => endedBy === null)
      if (using.length > 0 && this.#random.below(CLOSES_ONE_IN) === 0) {
        this.#close(this.#random.pick(using))
        continue
      }
      if (using.some(({ mode }) => mode === 'write') || this.#random.below(OPENS_ONE_IN) > 0)
        continue
      const wantsWrite = writersOf(volume).length === 0
      if (!wantsWrite && using.length > 0) continue
      this.#on(host, ({ client, generation }) =>
        this.#open(host, generation, client, volume, wantsWrite ? 'write' : 'read'),
      )
    }
  }

  #on(host: SimHost, act: (life: HostLife) => Promise<void>): void {
    const life = this.#lives.get(host)
    if (life === undefined || life.generation !== host.generation) return
    this.#options.world.after(
      0,
      'client acts',
      () => {
        act(life).catch((error: unknown) => this.#options.onFailed(host, error))
      },
      host,
    )
  }

  async #open(
    host: SimHost,
    life: number,
    client: LemnisClient,
    of: VolumeModel,
    how: 'write' | 'read' | true,
  ): Promise<void> {
    const mode = how === 'read' ? 'read' : 'write'
    let handle: Handle | null = null
    let early: LemnisError | null = null
    const onFenced = (error: LemnisError): void => {
      if (handle === null) early = error
      else this.#ended(handle, error)
    }
    let volume: Volume
    try {
      volume = await client.open(of.name, { mode, force: how === true, onFenced })
    } catch (thrown) {
      const error = asLemnisError(thrown)
      if (!OPENING.has(error.code))
        throw new Verdict('errors', `open of ${of.name}: ${error.message}`)
      return
    }
    // The name may be another volume's by now.
    if (volume.info.id !== of.id) {
      await volume.close()
      return
    }
    const { epoch } = volume.stats()
    handle = {
      host,
      life,
      mode,
      volume,
      epoch,
      of,
      segments: new Set<number>(),
      endedBy: null,
      closing: false,
    }
    of.opened(handle)
    if (early !== null) this.#ended(handle, early)
  }

  #ended(handle: Handle, error: LemnisError): void {
    if (!ENDINGS.has(error.code)) {
      throw new Verdict('errors', `${handle.host.name} lost ${handle.of.name} by ${error.message}`)
    }
    handle.endedBy = error.code
  }

  #close(handle: Handle): void {
    if (!isAlive(handle)) return
    handle.closing = true
    this.#on(handle.host, () => handle.volume.close())
  }

  // --- the workload

  #registerClient(): RegisterClient {
    return {
      get: (key, done) => this.#get(key, done),
      put: (key, value, done) => this.#put(key, value, done),
      cas: () => {
        throw new Error('blocks are not compared')
      },
    }
  }

  #get(key: string, done: (outcome: Outcome<RegisterValue>) => void): void {
    const register = this.#options.model.register(key)
    const handle = register === null ? null : this.#pick(this.#readersOf(register))
    if (register === null || handle === null) {
      done({ outcome: 'refused' })
      return
    }
    const act = async (): Promise<RegisterValue> =>
      valueOf(key, await handle.volume.read(register.offset, BLOCK_BYTES))
    this.#run(handle, `read ${key}`, act, (outcome) => {
      // What is read of a volume that is being ended means nothing, and an unknown read neither.
      const isVouched = handle.mode === 'read' || isVouchedFor(handle, register)
      const isSound = outcome.outcome === 'done' && !register.of.mayGo && isVouched
      done(isSound ? outcome : { outcome: 'refused' })
    })
  }

  #put(key: string, value: RegisterValue, done: (outcome: Outcome<true>) => void): void {
    const register = this.#options.model.register(key)
    const handle = register === null ? null : this.#pick(fitting(register, writersOf(register.of)))
    if (register === null || handle === null) {
      done({ outcome: 'refused' })
      return
    }
    const { of, offset } = register
    const newestEpoch = of.newestEpoch
    const { volume } = handle
    const act = async (): Promise<true> => {
      if (value !== null) await volume.write(offset, blockOf(key, value))
      else if (this.#random.chance(0.5)) await volume.discard(offset, BLOCK_BYTES)
      else await volume.writeZeroes(offset, BLOCK_BYTES)
      return true
    }
    this.#run(handle, `put ${key}`, act, (outcome) => {
      if (outcome.outcome === 'done' && value !== null) this.#wrote(handle, register)
      else if (outcome.outcome === 'done' && !isVouchedFor(handle, register)) {
        done({ outcome: 'unknown' })
        return
      }
      if (outcome.outcome === 'done') this.#judgeWriter(handle, newestEpoch)
      done(outcome)
    })
  }

  #wrote({ segments, of }: Handle, register: Register): void {
    const segment = segmentOf(register)
    segments.add(segment)
    if (!of.writtenUs.has(segment)) of.writtenUs.set(segment, this.#options.world.nowUs)
  }

  /** `newestEpoch`: of those whose opening had returned when the write was asked for. */
  #judgeWriter({ epoch, of, host }: Handle, newestEpoch: number): void {
    if (epoch >= newestEpoch) return
    const what =
      `a write to ${of.name} by ${host.name} with epoch ${epoch} was acknowledged, asked for after ` +
      `the opening with epoch ${newestEpoch} had returned`
    this.#options.world.fail(what, new Verdict('one-writer', what))
  }

  /** Mostly the newest; now and then one that may not know that it is not. */
  #pick(all: readonly Handle[]): Handle | null {
    const handles = all.filter((handle) => handle !== this.#spared)
    if (handles.length === 0) return null
    return this.#random.chance(0.6) ? newest(handles) : this.#random.pick(handles)
  }

  #readersOf(register: Register): Handle[] {
    const { of } = register
    const writtenUs = of.writtenUs.get(segmentOf(register)) ?? Number.POSITIVE_INFINITY
    const isOld = this.#options.world.nowUs > writtenUs + ABSENT_US
    const reading = of
      .alive()
      .filter(({ mode, endedBy }) => endedBy === null && (mode === 'write' || isOld))
    return fitting(register, reading)
  }

  /** One answer, however late: after PATIENCE_US the outcome is unknown, also of a dead host's. */
  #run<T>(
    handle: Handle,
    what: string,
    act: () => Promise<T>,
    done: (outcome: Outcome<T>) => void,
  ): void {
    const { world } = this.#options
    let isOver = false
    const end = (outcome: Outcome<T>): void => {
      if (isOver) return
      isOver = true
      world.cancel(timer)
      done(outcome)
    }
    const timer = world.after(PATIENCE_US, 'patience ends', () => end({ outcome: 'unknown' }))
    const call = (): void => {
      act().then(
        (value) => end({ outcome: 'done', value }),
        (thrown: unknown) => {
          this.#judgeError(handle, what, thrown)
          end({ outcome: 'unknown' })
        },
      )
    }
    world.after(0, what, call, handle.host)
  }

  #judgeError(handle: Handle, what: string, thrown: unknown): void {
    const error = asLemnisError(thrown)
    if (ENDINGS.has(error.code)) return
    const text = `${what} on ${handle.host.name}, ${handle.of.name}: ${error.message}`
    this.#options.world.fail(text, new Verdict('errors', text))
  }
}

/** Those that have heard that the volume is large enough. */
function fitting({ offset }: Register, handles: readonly Handle[]): Handle[] {
  return handles.filter(({ volume }) => offset + BLOCK_BYTES <= volume.sizeBytes)
}
