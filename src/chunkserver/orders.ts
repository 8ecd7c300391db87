// Owns what the MDS orders this chunkserver to do with its replicas. Every order may come twice and
// late: one that is done, or that belongs to another configuration than the present, does nothing.
// The MDS sees by the next reports what became of it.

import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import { type GroupId, type HostId, hostOf } from '../copyset/replica-id.ts'
import type { Order } from '../format/control/chunkserver.ts'
import type { Observer } from '../observe/observe.ts'
import { membersOf } from '../raft/configuration.ts'
import type { ReplicaId } from '../raft/types.ts'

export interface OrdersOptions {
  readonly observer: Observer
  readonly host: CopysetHost
  readonly self: HostId
  /** Begins a scrub unless one of that start, or a later one, has begun. */
  readonly scrub: (startedMs: number) => void
  readonly onDestroyed: (group: GroupId) => void
}

type OrderOf<K extends Order['kind']> = Extract<Order, { kind: K }>

/** Entries that the next leader may lack when a transfer begins: some tenths of a second of them. */
const LEAD_LAG_MAX = 1000

export class Orders {
  readonly #options: OrdersOptions

  constructor(options: OrdersOptions) {
    this.#options = options
  }

  /** Does what can be done at once and begins what lasts; rejects when it is refused. */
  async obey(order: Order): Promise<void> {
    switch (order.kind) {
      case 'found':
        return this.#found(order)
      case 'change':
        return this.#change(order)
      case 'destroy':
        return this.#destroy(order)
      case 'lead':
        return this.#lead(order)
      case 'scrub':
        this.#options.scrub(order.startedMs)
    }
  }

  /** As obey(); what is refused is an event, as nobody waits for the answer. */
  async follow(orders: readonly Order[]): Promise<void> {
    for (const order of orders) {
      try {
        await this.obey(order)
      } catch (thrown) {
        const { code, message } = asLemnisError(thrown)
        const group = order.kind === 'scrub' ? 0 : order.group
        const fields = { kind: order.kind, group, code, error: message }
        this.#options.observer.emit('chunkserver_order_refused', fields)
      }
    }
  }

  async #found(order: OrderOf<'found'>): Promise<void> {
    const { host, self } = this.#options
    const replica = order.replica as ReplicaId
    const voters = order.voters as ReplicaId[]
    if (hostOf(replica) !== self || !voters.includes(replica)) throw invalid(order, 'not here')
    if (host.replica(order.group as GroupId)?.id === replica) return
    try {
      await host.found(order.group as GroupId, replica, voters, voters[0])
    } catch (thrown) {
      // The same order came twice, at once and with a heartbeat, and the first is being followed.
      if (asLemnisError(thrown).code !== 'MEMBERSHIP_BUSY') throw thrown
    }
  }

  /** To the leader. Returns when the change has begun; how it ends is seen in the reports. */
  #change(order: OrderOf<'change'>): void {
    const { host, observer } = this.#options
    const replica = host.replica(order.group as GroupId)
    if (replica === undefined || !replica.isLeader || replica.epoch !== order.epoch) return
    const voters = order.voters as ReplicaId[]
    const members = membersOf(replica.membership)
    const add = voters.filter((voter) => !replica.membership.voters.includes(voter))
    const remove = members.filter((member) => !voters.includes(member))
    if (add.length === 0 && remove.length === 0) return
    host.change(replica.group, { add, remove }, (error) => {
      // One that is under way is what the order wants, or its end will be reported.
      if (error?.code === 'MEMBERSHIP_BUSY') return
      const result = error?.code ?? 'done'
      observer.emit('chunkserver_change_ended', { group: order.group, epoch: order.epoch, result })
    })
  }

  async #destroy(order: OrderOf<'destroy'>): Promise<void> {
    const { host, onDestroyed } = this.#options
    const group = order.group as GroupId
    if (host.log.group(group).replica !== order.replica) return
    const replica = host.replica(group)
    // A live replica goes only for a configuration that is newer than all it knows; one that is still
    // being loaded says nothing yet.
    const isOld = replica !== undefined && !isAsNew(replica, order.epoch)
    if (!isOld && !host.damagedGroups().has(group)) return
    await host.destroy(group, order.epoch)
    onDestroyed(group)
  }

  #lead(order: OrderOf<'lead'>): void {
    const replica = this.#options.host.replica(order.group as GroupId)
    if (replica === undefined || !replica.isLeader || replica.id === order.replica) return
    const { progress, lastIndex } = replica.status()
    const match = progress.find((follower) => follower.replica === order.replica)?.match ?? 0
    // Writes wait until it has everything, so it must be near; the order comes again.
    if (lastIndex - match > LEAD_LAG_MAX)
      throw new LemnisError('OVERLOADED', { lag: lastIndex - match })
    const refusal = replica.transferLeader(order.replica as ReplicaId)
    if (refusal !== null) throw invalid(order, refusal)
  }
}

function isAsNew(replica: Replica, epoch: number): boolean {
  return Math.max(replica.epoch, replica.createdEpoch) >= epoch
}

function invalid(order: Order, reason: string): LemnisError {
  return new LemnisError('INVALID_ARGUMENT', { order: order.kind, reason })
}
