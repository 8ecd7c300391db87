// Owns one watch on etcd: a stream from one member, and another from the next member when that ends, is
// silent, or its member did not answer somebody else. It goes on behind the last commit that was told;
// where etcd has compacted that away it starts anew, and says so.
// Invariant: commits are told whole, in order, none twice, and none is left out between two starts.

import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceError } from '@grpc/grpc-js'
import { asLemnisError } from '../base/errors.ts'
import type { MetaChanged, MetaWatch, MetaWatcher } from '../env/metastore.ts'
import type { EtcdConfig } from './etcd-config.ts'
import type { EtcdKeys } from './etcd-keys.ts'
import type { Duplex, EtcdMembers, Member } from './etcd-members.ts'
import { EVENT_DELETE, WATCH } from './etcd-schema.ts'
import { promised } from './promised.ts'
import type { Message } from './protobuf.ts'

type Answer = Message<typeof WATCH.answer>
type Event = Answer['events'][number]
type Stream = Duplex<typeof WATCH.request, typeof WATCH.answer>

export class EtcdWatch implements MetaWatch {
  readonly #members: EtcdMembers
  readonly #keys: EtcdKeys
  readonly #config: EtcdConfig
  readonly #from: string
  readonly #to: string
  readonly #watcher: MetaWatcher
  readonly #onClosed: () => void
  readonly #unlisten: () => void
  #isClosed = false
  /** All up to here was told; null before a start. */
  #toldRevision: number | null = null
  #stream: { readonly member: Member; readonly calls: Stream } | null = null
  /** Of a commit that comes in several answers. */
  #fragments: Event[] = []
  /** Why the last stream ended. */
  #reason = 'silent'

  constructor(
    members: EtcdMembers,
    keys: EtcdKeys,
    config: EtcdConfig,
    range: { readonly from: string; readonly to: string },
    watcher: MetaWatcher,
    onClosed: () => void,
  ) {
    this.#members = members
    this.#keys = keys
    this.#config = config
    this.#from = range.from
    this.#to = range.to
    this.#watcher = watcher
    this.#onClosed = onClosed
    this.#unlisten = members.listen((member) => {
      if (this.#stream?.member === member) this.#stream.calls.cancel()
    })
    void this.#run()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#unlisten()
    this.#stream?.calls.cancel()
    this.#onClosed()
  }

  async #run(): Promise<void> {
    // Nothing is told before watch() has returned.
    await Promise.resolve()
    while (!this.#isClosed) {
      const member = this.#members.current
      let isAlive = false
      try {
        isAlive = await this.#follow(member)
      } catch (error) {
        this.#reason = asLemnisError(error).message
      }
      if (this.#isClosed) return
      if (isAlive) continue
      this.#members.leave(member, `watch: ${this.#reason}`)
      await sleep(this.#config.pauseMs)
    }
  }

  /** One stream to its end. True when it did its work, so that the same member may be asked again. */
  async #follow(member: Member): Promise<boolean> {
    this.#fragments = []
    const deadline = Date.now() + this.#config.memberTimeoutMs
    const calls = await this.#members.stream(member, WATCH, deadline)
    this.#stream = { member, calls }
    const { promise, resolve } = promised<void>()
    let isCreated = false
    const probe = new Probe(this.#config, {
      ask: () => void calls.write({ progress: {} }),
      giveUp: () => calls.cancel(),
    })
    calls.on('data', (answer: Answer) => {
      if (this.#isClosed) return
      probe.heard()
      this.#members.found(member)
      isCreated ||= answer.isCreated
      if (answer.isCancelled) {
        // Somewhere behind what etcd still knows: all must be read anew.
        if (answer.compactRevision > 0) this.#forget(answer.compactRevision)
        else {
          isCreated = false
          this.#refused(answer.cancelReason)
        }
        calls.cancel()
      } else this.#take(answer)
    })
    calls.on('error', (error: ServiceError) => {
      this.#reason = error.details
      resolve()
    })
    calls.on('end', () => resolve())
    calls.write({
      create: {
        key: this.#keys.startOf(this.#from),
        rangeEnd: this.#keys.bytesOf(this.#to),
        startRevision: this.#toldRevision === null ? 0 : this.#toldRevision + 1,
        progressNotify: true,
        fragment: true,
      },
    })
    if (this.#isClosed) calls.cancel()
    await promise
    probe.end()
    this.#stream = null
    return isCreated && !probe.isSilent
  }

  #forget(compactRevision: number): void {
    const toldRevision = this.#toldRevision ?? 0
    this.#members.observer.emit('metastore_watch_restarted', { toldRevision, compactRevision })
    this.#toldRevision = null
  }

  /** Its token may have ended, which etcd says of a watch in other words. */
  #refused(reason: string): void {
    this.#reason = reason
    this.#members.forgetToken()
  }

  #take({ header, isCreated, isFragment, events, watchId }: Answer): void {
    const revision = header?.revision ?? 0
    if (isCreated) {
      if (this.#toldRevision !== null) return
      this.#toldRevision = revision
      this.#watcher.onStarted(revision)
      return
    }
    if (events.length === 0) {
      // That nothing has happened in this watch; the answer to a probe says it of no watch.
      if (watchId >= 0) this.#toldRevision = Math.max(this.#toldRevision ?? 0, revision)
      return
    }
    // One by one: as arguments of one call so many do not fit the stack.
    for (const event of events) this.#fragments.push(event)
    if (isFragment) return
    const whole = this.#fragments
    this.#fragments = []
    this.#tell(whole)
  }

  #tell(events: readonly Event[]): void {
    const told = this.#toldRevision ?? 0
    let changes: MetaChanged[] = []
    for (const [i, { item, type }] of events.entries()) {
      if (item === null || item.modRevision <= told) continue
      const revision = item.modRevision
      changes.push(
        type === EVENT_DELETE
          ? { kind: 'remove', key: this.#keys.keyOf(item.key), revision }
          : { kind: 'put', item: this.#keys.itemOf(item) },
      )
      if (events[i + 1]?.item?.modRevision === revision) continue
      this.#toldRevision = revision
      this.#watcher.onChanges(changes, revision)
      if (this.#isClosed) return
      changes = []
    }
  }
}

/** Asks when nothing was heard for a while, and gives up when nothing is heard then. */
class Probe {
  isSilent = false
  readonly #config: EtcdConfig
  readonly #then: { readonly ask: () => void; readonly giveUp: () => void }
  #timer: NodeJS.Timeout

  constructor(config: EtcdConfig, then: { readonly ask: () => void; readonly giveUp: () => void }) {
    this.#config = config
    this.#then = then
    this.#timer = this.#expect()
  }

  heard(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#then.ask()
      this.#timer = this.#expect()
    }, this.#config.watchProbeMs)
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #expect(): NodeJS.Timeout {
    return setTimeout(() => {
      this.isSilent = true
      this.#then.giveUp()
    }, this.#config.memberTimeoutMs)
  }
}
