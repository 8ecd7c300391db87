// Owns one byte stream between two hosts: two ends, each with the pipe of what it sends. Behaves like
// TCP (in order, flow-controlled, ends by FIN, by RST or by giving up after a long silence) plus the
// faults of links.ts on whole writes. Invariant: no event before the stream is accepted or open, none
// after onClose, none into a dead process. Leaves connecting and listening to network.ts.

import { must } from '../base/assert.ts'
import type { Prng } from '../base/prng.ts'
import type { Address, Connection, ConnectionEvents } from '../env/network.ts'
import type { SimEvent } from './event-queue.ts'
import type { SimHost } from './host.ts'
import { type Links, latencyUs } from './links.ts'
import type { World } from './world.ts'

/** Bytes that the two kernels take in before write() counts them as queued. */
const WINDOW_BYTES = 256 * 1024
/** As platform/network.ts. */
const HIGH_WATER_BYTES = 1024 * 1024
const LOW_WATER_BYTES = 256 * 1024

/** TCP retransmits 0.2 to 3 s after a loss, and gives up after many; shortened to keep runs short. */
const RETRANSMIT_US = { min: 200_000, max: 3_000_000 }
const GIVE_UP_US = { min: 4_000_000, max: 15_000_000 }

/** A part that comes later comes this much later. */
const SPLIT_US_MAX = 200

/** What the streams of one network share. */
export interface StreamWorld {
  readonly world: World
  readonly links: Links
  readonly random: Prng
  readonly ends: Set<StreamEnd>
}

interface Piece {
  readonly kind: 'data' | 'fin' | 'reset'
  readonly arrivesUs: number
  bytes: Uint8Array
}

/** What one end has sent and the other has not yet taken in. */
class Pipe {
  readonly #shared: StreamWorld
  readonly #from: StreamEnd
  #pieces: Piece[] = []
  #bytes = 0
  #unackedBytes = 0
  #lastArrivalUs = 0
  #sendingUntilUs = 0
  #pump: SimEvent | null = null
  #giveUp: SimEvent | null = null

  constructor(shared: StreamWorld, from: StreamEnd) {
    this.#shared = shared
    this.#from = from
  }

  /** Bytes beyond what the kernels hold. */
  queuedBytes(): number {
    return Math.max(0, this.#bytes + this.#unackedBytes - WINDOW_BYTES)
  }

  send(bytes: Uint8Array): void {
    const { links, random } = this.#shared
    const link = links.conditions(this.#from.host.name, this.#from.remoteHost.name)
    if (random.chance(link.loseWriteChance)) return this.#note('lost write')
    if (random.chance(link.resetChance)) {
      this.#note('reset in write')
      this.#enqueue('data', bytes.slice(0, random.below(bytes.byteLength + 1)))
      this.#enqueue('reset', bytes.subarray(0, 0))
      return
    }
    if (random.chance(link.stallChance)) {
      this.#note('stall')
      this.#lastArrivalUs =
        this.#shared.world.nowUs + random.between(RETRANSMIT_US.min, RETRANSMIT_US.max)
    }
    this.#enqueue('data', bytes)
    if (random.chance(link.duplicateWriteChance)) {
      this.#note('doubled write')
      this.#enqueue('data', bytes.slice())
    }
    if (random.chance(link.reorderWriteChance)) this.#swapLastTwo()
  }

  end(kind: 'fin' | 'reset'): void {
    this.#enqueue(kind, new Uint8Array(0))
  }

  /** Forgets what is on its way; with a reset, bytes before it may or may not have come through. */
  drop(): void {
    this.#pieces = []
    this.#bytes = 0
    this.#unackedBytes = 0
    this.#cancelGiveUp()
  }

  /** Something that may have held deliveries back has changed. */
  wake(delayUs: number): void {
    this.#shared.world.after(delayUs, 'retransmit', () => {
      this.#acknowledge(0)
      this.#deliver()
    })
  }

  resumed(): void {
    this.#schedule(0)
  }

  #note(what: string): void {
    this.#shared.world.note(this.#from.host.name, what, `to ${this.#from.remoteHost.name}`)
  }

  #enqueue(kind: Piece['kind'], bytes: Uint8Array): void {
    const { world, links, random } = this.#shared
    const link = links.conditions(this.#from.host.name, this.#from.remoteHost.name)
    let sentUs = world.nowUs
    if (link.bytesPerSecond > 0) {
      const sendingUs = Math.ceil((bytes.byteLength * 1_000_000) / link.bytesPerSecond)
      this.#sendingUntilUs = Math.max(sentUs, this.#sendingUntilUs) + sendingUs
      sentUs = this.#sendingUntilUs
    }
    const arrivesUs = Math.max(this.#lastArrivalUs, sentUs + latencyUs(link, random))
    this.#lastArrivalUs = arrivesUs
    this.#pieces.push({ kind, arrivesUs, bytes })
    this.#bytes += bytes.byteLength
    if (this.#pieces.length === 1) this.#schedule(arrivesUs - world.nowUs)
  }

  #swapLastTwo(): void {
    const last = this.#pieces.at(-1)
    const previous = this.#pieces.at(-2)
    if (last?.kind !== 'data' || previous?.kind !== 'data') return
    this.#note('swapped writes')
    this.#pieces[this.#pieces.length - 2] = { ...last, arrivesUs: previous.arrivesUs }
    this.#pieces[this.#pieces.length - 1] = { ...previous, arrivesUs: last.arrivesUs }
  }

  #schedule(delayUs: number): void {
    const { world } = this.#shared
    const atUs = world.nowUs + Math.max(0, delayUs)
    if (this.#pump !== null && this.#pump.state === 'waiting') {
      if (this.#pump.atUs <= atUs) return
      world.cancel(this.#pump)
    }
    this.#pump = world.after(atUs - world.nowUs, 'arrive', () => this.#deliver())
  }

  #deliver(): void {
    const { world, links } = this.#shared
    const first = this.#pieces[0]
    if (first === undefined) return
    if (first.arrivesUs > world.nowUs) return this.#schedule(first.arrivesUs - world.nowUs)
    const here = this.#from.host.name
    const there = this.#from.remoteHost
    if (links.isCut(here, there.name) || !there.powered) {
      // A reset is sent once and never again; anything else is sent until it comes through.
      if (first.kind === 'reset') this.drop()
      else this.#armGiveUp()
      return
    }
    const to = this.#from.peer
    if (to === null || to.gone) {
      this.drop()
      this.#from.refused()
      return
    }
    if (!to.ready) return
    this.#hand(to, first)
    if (this.#pieces.length > 0 && to.ready) {
      this.#schedule((this.#pieces[0] as Piece).arrivesUs - world.nowUs)
    }
  }

  #hand(to: StreamEnd, first: Piece): void {
    if (first.kind !== 'data') {
      this.drop()
      to.kill(first.kind === 'fin' ? 'ended by the peer' : 'reset by the peer')
      if (first.kind === 'fin') this.#from.peerTookEnd()
      else this.#from.refused()
      return
    }
    const bytes = this.#takeDue()
    this.#acknowledge(bytes.byteLength)
    if (bytes.byteLength > 0) to.receive(bytes)
  }

  /** All that has arrived by now as one run of bytes, or a random part of it. */
  #takeDue(): Uint8Array {
    const { world, random, links } = this.#shared
    let count = 0
    let total = 0
    for (const piece of this.#pieces) {
      if (piece.kind !== 'data' || piece.arrivesUs > world.nowUs) break
      count++
      total += piece.bytes.byteLength
    }
    const due = this.#pieces.splice(0, count)
    this.#bytes -= total
    let all = (due[0] as Piece).bytes
    if (count > 1) {
      all = new Uint8Array(total)
      let at = 0
      for (const piece of due) {
        all.set(piece.bytes, at)
        at += piece.bytes.byteLength
      }
    }
    const link = links.conditions(this.#from.host.name, this.#from.remoteHost.name)
    if (total < 2 || !random.chance(link.splitChance)) return all
    const at = random.between(1, total - 1)
    const arrivesUs = world.nowUs + 1 + random.below(SPLIT_US_MAX)
    this.#pieces.unshift({ kind: 'data', arrivesUs, bytes: all.subarray(at) })
    this.#bytes += total - at
    return all.subarray(0, at)
  }

  /** `bytes` were taken in over there; the news comes back only if that direction is whole. */
  #acknowledge(bytes: number): void {
    this.#unackedBytes += bytes
    if (this.#shared.links.isCut(this.#from.remoteHost.name, this.#from.host.name)) {
      if (this.#unackedBytes > 0) this.#armGiveUp()
      return
    }
    this.#unackedBytes = 0
    this.#cancelGiveUp()
    this.#from.sentSome()
  }

  #armGiveUp(): void {
    if (this.#giveUp !== null) return
    const { world, random } = this.#shared
    const delayUs = random.between(GIVE_UP_US.min, GIVE_UP_US.max)
    this.#giveUp = world.after(delayUs, 'give up', () => {
      this.#giveUp = null
      this.drop()
      this.#from.kill('timed out')
    })
  }

  #cancelGiveUp(): void {
    if (this.#giveUp === null) return
    this.#shared.world.cancel(this.#giveUp)
    this.#giveUp = null
  }
}

/** One end of a stream. 'opening' until the other kernel has answered; 'gone' when nothing is left of it. */
export class StreamEnd implements Connection {
  readonly host: SimHost
  readonly remoteHost: SimHost
  readonly remote: Address
  peer: StreamEnd | null = null
  readonly pipe: Pipe
  readonly #shared: StreamWorld
  readonly #generation: number
  #events: ConnectionEvents | null = null
  #state: 'opening' | 'open' | 'ending' | 'gone' = 'opening'
  #reading = true
  #wantsDrain = false

  constructor(shared: StreamWorld, host: SimHost, remoteHost: SimHost, remote: Address) {
    this.#shared = shared
    this.host = host
    this.remoteHost = remoteHost
    this.remote = remote
    this.#generation = host.generation
    this.pipe = new Pipe(shared, this)
    shared.ends.add(this)
  }

  get gone(): boolean {
    return this.#state === 'gone' || this.#generation !== this.host.generation
  }

  /** The process takes bytes now. */
  get ready(): boolean {
    return this.#events !== null && this.#state !== 'opening' && this.#reading && !this.host.paused
  }

  // --- the process's side

  write(parts: readonly Uint8Array[]): boolean {
    if (this.gone || this.#state === 'ending') return false
    let total = 0
    for (const part of parts) total += part.byteLength
    if (total > 0) {
      const bytes = new Uint8Array(total)
      let at = 0
      for (const part of parts) {
        bytes.set(part, at)
        at += part.byteLength
      }
      this.#shared.world.trace.mixBytes(bytes)
      this.pipe.send(bytes)
    }
    const room = this.pipe.queuedBytes() <= HIGH_WATER_BYTES
    if (!room) this.#wantsDrain = true
    return room
  }

  queuedBytes(): number {
    return this.gone ? 0 : this.pipe.queuedBytes()
  }

  pause(): void {
    this.#reading = false
  }

  resume(): void {
    if (this.#reading || this.gone) return
    this.#reading = true
    this.peer?.pipe.resumed()
  }

  close(): void {
    if (this.gone || this.#state === 'ending') return
    this.#state = 'ending'
    this.resume()
    this.pipe.end('fin')
  }

  destroy(reason: string): void {
    if (this.gone) return
    const silent = this.#state === 'opening' && this.peer === null
    this.kill(reason)
    if (!silent) this.#sendReset()
  }

  // --- the kernel's side

  attach(events: ConnectionEvents): void {
    if (this.#state !== 'gone') this.#events = events
    else this.#shared.world.after(0, 'close', () => events.onClose('closed here'), this.host)
  }

  /** The stream is up; tells the process and lets waiting bytes through. */
  opened(): void {
    if (this.gone) return
    if (this.#state === 'opening') this.#state = 'open'
    must(this.#events, 'an opened stream has events').onOpen()
    this.peer?.pipe.resumed()
  }

  /** Lends the bytes; afterwards they read as garbage, so that who kept them without a copy is found. */
  receive(bytes: Uint8Array): void {
    const { trace } = this.#shared.world
    trace.record(this.#shared.world.nowUs, this.host.name, 'receive', bytes.byteLength)
    trace.mixBytes(bytes)
    this.#events?.onData(bytes)
    bytes.fill(0xdb)
  }

  /** The other end has read to the end: the closing of this one is complete. */
  peerTookEnd(): void {
    this.#later('fin', () => this.kill('closed here'))
  }

  /** What was sent met no stream over there: its kernel answers with a reset. */
  refused(): void {
    this.#later('reset', () => this.kill('reset by the peer'))
  }

  sentSome(): void {
    if (!this.#wantsDrain || this.pipe.queuedBytes() > LOW_WATER_BYTES) return
    this.#wantsDrain = false
    this.#shared.world.after(
      0,
      'drain',
      () => {
        if (!this.gone) this.#events?.onDrain()
      },
      this.host,
    )
  }

  /** Ends it here without a word to the other side; the process hears of it, if it lives. */
  kill(reason: string): void {
    if (this.#state === 'gone') return
    this.#state = 'gone'
    this.#shared.ends.delete(this)
    this.pipe.drop()
    const events = this.#events
    this.#events = null
    if (events === null || this.#generation !== this.host.generation) return
    this.#shared.world.after(0, 'close', () => events.onClose(reason), this.host)
  }

  /** The process died: its kernel resets the stream, unless it lost its power too. */
  died(powered: boolean): void {
    this.#state = 'gone'
    this.#shared.ends.delete(this)
    this.pipe.drop()
    if (powered) this.#sendReset()
  }

  #sendReset(): void {
    const peer = this.peer
    if (peer === null) return
    const { links } = this.#shared
    this.#shared.world.after(this.#latencyTo(), 'reset', () => {
      if (!links.isCut(this.host.name, this.remoteHost.name)) peer.kill('reset by the peer')
    })
  }

  /** An answer of the other kernel, lost when its way is cut. */
  #later(label: string, act: () => void): void {
    const { world, links, random } = this.#shared
    const link = links.conditions(this.remoteHost.name, this.host.name)
    world.after(latencyUs(link, random), label, () => {
      if (!links.isCut(this.remoteHost.name, this.host.name)) act()
    })
  }

  #latencyTo(): number {
    const { links, random } = this.#shared
    return latencyUs(links.conditions(this.host.name, this.remoteHost.name), random)
  }
}
