// Owns the nemesis, which carries out the plan of a run over virtual time: strikes hosts, their clocks, disks
// and wires, and has needless work done. Invariants: heal() ends every fault; faults that destroy
// acknowledged data strike only the plan's victims.

import { must } from '../base/assert.ts'
import type { Prng } from '../base/prng.ts'
import { noFaults } from './disk.ts'
import {
  type DestructiveKind,
  type FaultKind,
  type FaultPlan,
  isDestructive,
  isWeather,
  type PlannedFault,
  type StrikeKind,
  type WeatherKind,
} from './fault-plan.ts'
import type { SimHost } from './host.ts'
import type { LinkConditions } from './links.ts'
import type { SimNetwork } from './network.ts'
import type { World } from './world.ts'

/** What the nemesis asks of the system itself. */
export interface SystemActions {
  changeMembership(): void
  transferLeader(): void
  sendSnapshot(): void
}

export interface NemesisOptions {
  readonly world: World
  readonly network: SimNetwork
  readonly hosts: readonly SimHost[]
  readonly actions: SystemActions
  readonly plan: FaultPlan
  /** Clocks run apart by no more than this; the system's leases rely on such a bound. */
  readonly driftPpmMax: number
}

const SECOND_US = 1_000_000
export class Nemesis {
  readonly #world: World
  readonly #network: SimNetwork
  readonly #hosts: readonly SimHost[]
  readonly #actions: SystemActions
  readonly #plan: FaultPlan
  readonly #driftPpmMax: number
  readonly #random: Prng
  /** What ends the faults under way. */
  readonly #undos = new Set<() => void>()
  readonly #counts = new Map<FaultKind, number>()
  #active = false

  constructor(options: NemesisOptions) {
    this.#world = options.world
    this.#network = options.network
    this.#hosts = options.hosts
    this.#actions = options.actions
    this.#plan = options.plan
    this.#driftPpmMax = options.driftPpmMax
    this.#random = options.world.random.fork('nemesis')
  }

  /** How often each kind struck. */
  get counts(): ReadonlyMap<FaultKind, number> {
    return this.#counts
  }

  start(): void {
    this.#active = true
    for (const fault of this.#plan.faults) this.#next(fault)
  }

  /** Ends all faults for good: wires whole, disks sound and empty enough, every host running. */
  heal(): void {
    this.#active = false
    for (const undo of [...this.#undos]) undo()
    this.#network.heal()
    for (const host of this.#hosts) {
      host.setDrift(0)
      this.#revive(host)
    }
  }

  #next(fault: PlannedFault): void {
    const delayUs = this.#random.below(2 * fault.gapUs) + 1
    this.#world.after(delayUs, 'nemesis', () => {
      if (!this.#active) return
      this.#counts.set(fault.kind, (this.#counts.get(fault.kind) ?? 0) + 1)
      this.#strike(fault.kind)
      this.#next(fault)
    })
  }

  #strike(kind: FaultKind): void {
    if (isDestructive(kind)) this.#strikeDisk(kind)
    else if (isWeather(kind)) this.#weather(WEATHER[kind])
    else STRIKES[kind](this)
  }

  // --- processes and machines

  crash(): void {
    const host = this.#anyRunning()
    if (host === null) return
    host.crash()
    this.#for(this.#between(50_000, 4 * SECOND_US), () => this.#revive(host))
  }

  pause(): void {
    const host = this.#anyRunning()
    if (host === null) return
    host.pause()
    this.#for(this.#between(20_000, 5 * SECOND_US), () => host.resume())
  }

  losePower(): void {
    const host = this.#anyRunning()
    if (host !== null) this.#darken(host)
  }

  losePowerOfAll(): void {
    for (const host of this.#hosts) this.#darken(host)
  }

  #darken(host: SimHost): void {
    host.powerLoss()
    this.#for(this.#between(200_000, 5 * SECOND_US), () => this.#revive(host))
  }

  #revive(host: SimHost): void {
    host.resume()
    if (host.state === 'down' || host.state === 'unpowered') host.start()
  }

  // --- wires

  cut(): void {
    const [a, b] = this.#twoHosts()
    this.#cutFor([
      [a, b],
      [b, a],
    ])
  }

  cutOneWay(): void {
    this.#cutFor([this.#twoHosts()])
  }

  /** One host or two see none of the others; perhaps those see them, or they those. */
  isolate(): void {
    const first = this.#random.below(this.#hosts.length)
    const count = this.#random.between(1, Math.max(1, Math.floor(this.#hosts.length / 2)))
    const inside = this.#hosts.map(
      (_, i) => (i - first + this.#hosts.length) % this.#hosts.length < count,
    )
    const ways = this.#random.pick(['both', 'both', 'in', 'out'] as const)
    const pairs: [SimHost, SimHost][] = []
    for (const [i, host] of this.#hosts.entries()) {
      for (const [j, other] of this.#hosts.entries()) {
        if (inside[i] !== true || inside[j] === true) continue
        if (ways !== 'in') pairs.push([host, other])
        if (ways !== 'out') pairs.push([other, host])
      }
    }
    this.#cutFor(pairs)
  }

  #cutFor(pairs: readonly (readonly [SimHost, SimHost])[]): void {
    for (const [from, to] of pairs) this.#network.cut(from.name, to.name)
    this.#for(this.#between(100_000, 8 * SECOND_US), () => {
      for (const [from, to] of pairs) this.#network.mend(from.name, to.name)
    })
  }

  slowLink(): void {
    const [from, to] = this.#twoHosts()
    const bytesPerSecond = this.#between(20_000, 2_000_000)
    this.#network.links.setOwn(from.name, to.name, { bytesPerSecond })
    this.#world.note(from.name, 'slow link', `to ${to.name}`)
    this.#for(this.#between(SECOND_US, 8 * SECOND_US), () => {
      this.#network.links.clearOwn(from.name, to.name)
    })
  }

  /** Conditions that hold everywhere for a while. */
  #weather(make: (random: Prng) => Partial<LinkConditions>): void {
    const conditions = make(this.#random)
    this.#world.note('', 'weather', JSON.stringify(conditions))
    this.#network.links.change(conditions)
    this.#for(this.#between(SECOND_US, 8 * SECOND_US), () => this.#network.links.calm(conditions))
  }

  // --- clocks

  jumpClock(): void {
    this.#random.pick(this.#hosts).jumpWall(this.#random.between(-3_600_000, 3_600_000))
  }

  driftClock(): void {
    const bound = this.#driftPpmMax
    this.#random.pick(this.#hosts).setDrift(this.#random.between(-bound, bound))
  }

  // --- disks

  slowDisk(): void {
    const { disk, name } = this.#random.pick(this.#hosts)
    disk.faults.slowFactor = this.#between(5, 200)
    this.#world.note(name, 'slow disk', disk.faults.slowFactor)
    this.#for(this.#between(SECOND_US, 8 * SECOND_US), () => {
      disk.faults.slowFactor = 1
    })
  }

  stallDisk(): void {
    const { disk, name } = this.#random.pick(this.#hosts)
    disk.stall()
    this.#world.note(name, 'disk stalls')
    this.#for(this.#between(100_000, 5 * SECOND_US), () => disk.resume())
  }

  fillDisk(): void {
    const { disk, name } = this.#random.pick(this.#hosts)
    disk.faults.capacityBytes = disk.usedBytes() + this.#between(0, 64 * 1024)
    this.#world.note(name, 'disk full')
    this.#for(this.#between(SECOND_US, 8 * SECOND_US), () => {
      disk.faults.capacityBytes = noFaults().capacityBytes
    })
  }

  #strikeDisk(kind: DestructiveKind): void {
    const victims = this.#hosts.filter((host) => this.#plan.victims.has(host.name))
    if (victims.length === 0) return
    const host = this.#random.pick(victims)
    this.#world.note(host.name, kind)
    if (kind === 'wiped-disk') {
      host.powerLoss()
      host.replaceDisk()
      this.#for(this.#between(200_000, 5 * SECOND_US), () => this.#revive(host))
      return
    }
    host.diskLies = true
    const { faults } = host.disk
    const chance = 1 / this.#between(3, 200)
    const changed =
      kind === 'disk-error'
        ? { readErrorChance: chance, writeErrorChance: chance }
        : kind === 'bit-flip'
          ? { restFlipChance: chance, readFlipChance: chance }
          : { misdirectChance: chance }
    Object.assign(faults, changed)
    this.#for(this.#between(100_000, 3 * SECOND_US), () => {
      const sound = noFaults()
      for (const name of Object.keys(changed) as (keyof typeof faults)[]) faults[name] = sound[name]
    })
  }

  // --- the system

  changeMembership(): void {
    this.#actions.changeMembership()
  }

  transferLeader(): void {
    this.#actions.transferLeader()
  }

  sendSnapshot(): void {
    this.#actions.sendSnapshot()
  }

  // --- helpers

  /** Ends a fault after a while, or when everything is healed. */
  #for(durationUs: number, end: () => void): void {
    const undo = (): void => {
      if (this.#undos.delete(undo)) end()
    }
    this.#undos.add(undo)
    this.#world.after(durationUs, 'nemesis ends', undo)
  }

  #between(low: number, high: number): number {
    return this.#random.between(low, high)
  }

  #anyRunning(): SimHost | null {
    const running = this.#hosts.filter((host) => host.state === 'running')
    return running.length === 0 ? null : this.#random.pick(running)
  }

  #twoHosts(): readonly [SimHost, SimHost] {
    const at = this.#random.below(this.#hosts.length)
    const step = this.#random.between(1, this.#hosts.length - 1)
    const a = must(this.#hosts[at], 'a host')
    return [a, must(this.#hosts[(at + step) % this.#hosts.length], 'another host')]
  }
}

/** What befalls all links for a while. */
const WEATHER: Readonly<Record<WeatherKind, (random: Prng) => Partial<LinkConditions>>> = {
  'packet-loss': (random) => ({ stallChance: 1 / random.between(10, 1000) }),
  'lost-writes': (random) => ({ loseWriteChance: 1 / random.between(5, 500) }),
  'doubled-writes': (random) => ({ duplicateWriteChance: 1 / random.between(3, 100) }),
  'reordered-writes': (random) => ({ reorderWriteChance: 1 / random.between(3, 100) }),
  delays: (random) => ({
    spikeChance: 1 / random.between(3, 100),
    spikeUsMax: random.between(1000, 2 * SECOND_US),
  }),
  resets: (random) => ({ resetChance: 1 / random.between(20, 2000) }),
  refusals: (random) => ({ refuseChance: 1 / random.between(2, 10) }),
}

const STRIKES: Readonly<Record<StrikeKind, (nemesis: Nemesis) => void>> = {
  crash: (nemesis) => nemesis.crash(),
  pause: (nemesis) => nemesis.pause(),
  'power-loss': (nemesis) => nemesis.losePower(),
  'power-loss-of-all': (nemesis) => nemesis.losePowerOfAll(),
  cut: (nemesis) => nemesis.cut(),
  'one-way-cut': (nemesis) => nemesis.cutOneWay(),
  isolation: (nemesis) => nemesis.isolate(),
  'slow-link': (nemesis) => nemesis.slowLink(),
  'clock-jump': (nemesis) => nemesis.jumpClock(),
  'clock-drift': (nemesis) => nemesis.driftClock(),
  'slow-disk': (nemesis) => nemesis.slowDisk(),
  'disk-stall': (nemesis) => nemesis.stallDisk(),
  'disk-full': (nemesis) => nemesis.fillDisk(),
  'membership-change': (nemesis) => nemesis.changeMembership(),
  'leader-transfer': (nemesis) => nemesis.transferLeader(),
  'needless-snapshot': (nemesis) => nemesis.sendSnapshot(),
}
