// Owns the judgement of the simulated block cluster as a whole: what is looked at all the time while it
// runs, and, when all is healed, what must come true one after the other and stay so. What one checker
// looks for is in block-checkers.ts; this knows whom to ask.
// Invariant: changes nothing, but that it orders scrubs in the end.

import type { Chunkserver } from '../chunkserver/chunkserver.ts'
import type { Field } from '../observe/observe.ts'
import type { BlockAdmin } from './block-admin.ts'
import {
  ChunkComparer,
  DamageChecker,
  MembershipChecker,
  StateComparer,
  strayChunk,
} from './block-checkers.ts'
import type { BlockClients } from './block-clients.ts'
import type { BlockMds } from './block-mds.ts'
import type { BlockOperator, Survey } from './block-operator.ts'
import type { ObservedReplica } from './checkers.ts'
import type { CopysetLives } from './copyset-lives.ts'
import type { SimHost } from './host.ts'
import type { LastStep } from './run.ts'
import type { Supervisor } from './supervisor.ts'
import { Verdict } from './verdict.ts'
import type { World } from './world.ts'

export interface BlockJudgeOptions {
  readonly world: World
  readonly supervisor: Supervisor
  readonly lives: CopysetLives<Chunkserver>
  readonly mds: BlockMds
  readonly clients: BlockClients
  readonly operator: BlockOperator
  readonly admin: BlockAdmin
  readonly copysetCount: number
  readonly voterCount: number
  /** Entries by which a new voter may be behind when it begins to count. */
  readonly lagMax: number
}

const COMPARE_US = 3_000_000
/** Until states are compared once more that changed while they were. */
const AGAIN_US = 700_000

export class BlockJudge {
  readonly #options: BlockJudgeOptions
  readonly #world: World
  readonly #lives: CopysetLives<Chunkserver>
  readonly #membership: MembershipChecker
  readonly #comparer = new ChunkComparer()
  readonly #damage = new DamageChecker()
  #states: StateComparer | null = null

  constructor(options: BlockJudgeOptions) {
    this.#options = options
    this.#world = options.world
    this.#lives = options.lives
    this.#membership = new MembershipChecker(options.lagMax, options.voterCount)
  }

  // --- while it runs

  start(): void {
    this.#world.after(COMPARE_US, 'compare', () => {
      for (const [host, replica] of this.#lives.replicas()) {
        const look = (): void => void this.#comparer.look(replica, host.name)
        this.#world.after(0, 'compare', look, host)
      }
      this.start()
    })
  }

  /** A chunkserver serves in that zone. */
  serves(chunkserver: number, zone: string): void {
    this.#membership.serves(chunkserver, zone)
  }

  /** What a process says. */
  heard(host: SimHost, name: string, fields: Readonly<Record<string, Field>>): void {
    const verdict = this.#damage.heard(host, name, fields)
    if (verdict !== null) this.#world.fail(verdict.message, verdict)
  }

  /** All replicas in service, on one host or on all; judges the members of those on one. */
  *observe(name?: string): Iterable<ObservedReplica> {
    this.#comparer.throwBreach()
    for (const replica of this.#lives.observe(name)) {
      yield replica
      if (name !== undefined) this.#membership.look(replica)
    }
  }

  // --- the end

  lastSteps(): readonly LastStep[] {
    const { mds, clients, admin } = this.#options
    return [
      {
        what: 'superseded writers to hear of it',
        begin: () => clients.rest(),
        isDone: () => clients.deceived().length === 0,
        missing: () =>
          clients
            .deceived()
            .map(({ host }) => host.name)
            .join(' '),
      },
      {
        what: 'one MDS to lead',
        isDone: () => mds.leaders().length === 1,
      },
      {
        what: 'everything asked for to be taken back',
        isDone: () => admin.isQuiet,
      },
      {
        what: 'all copysets to be whole',
        isDone: () => this.#lack() === null,
        missing: () => this.#lack() ?? '',
      },
      {
        what: 'the chunks of deleted volumes to go',
        isDone: () => this.#stray() === null,
        missing: () => this.#stray() ?? '',
      },
      this.#scrubStep('a scrub', () => {}),
      this.#scrubStep('a scrub that finds nothing', () => this.#judgeScrub()),
      {
        what: 'all replicas to be equal',
        begin: () => this.#compareStates(),
        isDone: () => this.#areEqual(),
        missing: () => `${this.#states?.compared} states of ${this.#states?.places} indexes`,
      },
    ]
  }

  /** What copysets lack, as the MDS says and as chunkservers show; null when they are whole. */
  #lack(): string | null {
    const { operator, mds } = this.#options
    const { survey } = operator
    if (survey === null) return 'no survey'
    if (survey.moving > 0) return `${survey.moving} operators`
    const { active } = mds.control
    if (active > 0) return `${active} operators on record that nobody works on`
    return this.#lackOfMembers(survey) ?? this.#leftOver(survey)
  }

  #lackOfMembers({ copysets }: Survey): string | null {
    const { copysetCount, voterCount } = this.#options
    const live = new Map<number, Chunkserver>()
    for (const [, server] of this.#lives.alive()) live.set(server.identity.id, server)
    let count = 0
    for (const { id, health, members } of copysets) {
      if (health !== 'ok') return `copyset ${id} is ${health}`
      for (const { chunkserver, replica } of members) {
        const held = [...(live.get(chunkserver)?.host.replicas() ?? [])]
        if (!held.some((one) => one.group === id && one.id === replica)) {
          return `copyset ${id} has no replica ${replica} on chunkserver ${chunkserver}`
        }
      }
      count += members.length
    }
    return count === copysetCount * voterCount ? null : `${count} members of all copysets`
  }

  /** What chunkservers have that no copyset counts, or that is damaged. */
  #leftOver({ copysets }: Survey): string | null {
    const isMember = (group: number, replica: number): boolean => {
      const copyset = copysets.find((one) => one.id === group)
      return copyset?.members.some((member) => member.replica === replica) === true
    }
    for (const [host, server] of this.#lives.alive()) {
      for (const { id, group, epoch } of server.host.replicas()) {
        // One that was made for a change that was given up goes with the next change.
        if (epoch === 0 || isMember(group, id)) continue
        return `replica ${id} of copyset ${group} on ${host.name} is no member`
      }
      for (const group of server.host.damagedGroups().keys()) {
        const { replica } = server.host.log.group(group)
        // One that could not even be made on a full disk, and was given up, goes with the next change too.
        if (!isMember(group, replica)) continue
        return `damaged replica ${replica} of copyset ${group} on ${host.name}`
      }
    }
    return null
  }

  #stray(): string | null {
    const { survey } = this.#options.operator
    if (survey === null) return 'no survey'
    if (survey.deletedVolumes > 0) return `${survey.deletedVolumes} volumes in the trash`
    for (const [, server] of this.#lives.alive()) {
      const stray = strayChunk(server.host.replicas(), survey.chunks)
      if (stray !== null) return stray
    }
    return null
  }

  #scrubStep(what: string, judge: () => void): LastStep {
    const { operator } = this.#options
    const startedMs = new Map<Chunkserver, number>()
    let asked = 0
    const waiting = (): string[] => {
      const names: string[] = []
      for (const [host, server] of this.#lives.alive()) {
        const report = server.scrub
        const isNew = report.startedMs > (startedMs.get(server) ?? -1)
        if (!isNew || report.state !== 'idle') names.push(host.name)
      }
      return names
    }
    return {
      what,
      begin: () => {
        asked = operator.scrubsAsked
        for (const [, server] of this.#lives.alive()) {
          startedMs.set(server, server.scrub.startedMs)
        }
        operator.scrub()
      },
      isDone: () => {
        if (operator.scrubsAsked === asked || waiting().length > 0) return false
        judge()
        return true
      },
      missing: () => waiting().join(' '),
    }
  }

  #judgeScrub(): void {
    for (const [host, server] of this.#lives.alive()) {
      const { badBlocks } = server.scrub
      if (badBlocks === 0) continue
      throw new Verdict('chunks', `${host.name}: ${badBlocks} bad blocks after a scrub`)
    }
  }

  #areEqual(): boolean {
    const { copysetCount, voterCount } = this.#options
    const states = this.#states
    if (states === null || states.compared < copysetCount * voterCount) return false
    if (states.places === copysetCount) return true
    // A new leader's first entry may come between two looks.
    this.#states = null
    this.#world.after(AGAIN_US, 'compare', () => this.#compareStates())
    return false
  }

  #compareStates(): void {
    const states = new StateComparer()
    this.#states = states
    for (const [host, replica] of this.#lives.replicas()) {
      if (replica.epoch === 0) continue
      const look = (): void => {
        states.look(replica).catch((error: unknown) => this.#options.supervisor.wrong(host, error))
      }
      this.#world.after(0, 'compare', look, host)
    }
  }
}
