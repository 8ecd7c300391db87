// Owns a stand-in for the MDS at the wire: registers disks, keeps the last heartbeat of each
// chunkserver, and answers with the orders, limits and addresses that a test has put in. It decides
// nothing by itself. What it knows outlives its process.

import type { ErrorCode } from '../../base/errors.ts'
import { LemnisError } from '../../base/errors.ts'
import type { Address } from '../../env/network.ts'
import type { RequestOf } from '../../format/control/call.ts'
import { HEARTBEAT, type Order, REGISTER_CHUNKSERVER } from '../../format/control/chunkserver.ts'
import { serveControl } from '../../rpc/control.ts'
import type { RpcServer } from '../../rpc/server.ts'
import type { VolumeLimit } from '../limits.ts'

type Report = RequestOf<typeof HEARTBEAT>

interface Known {
  readonly id: number
  readonly diskId: string
  address: Address
}

export class ScriptedMds {
  clusterId = 'cluster-of-tests'
  readonly registrations: RequestOf<typeof REGISTER_CHUNKSERVER>[] = []
  readonly reports = new Map<number, Report>()
  /** Given with every heartbeat of that chunkserver until they are taken out. */
  readonly orders = new Map<number, Order[]>()
  limits: VolumeLimit[] = []
  full: number[] = []
  /** Everything is refused with it. */
  refusal: ErrorCode | null = null
  heartbeats = 0
  readonly #known: Known[] = []
  #directoryVersion = 1

  serve(server: RpcServer): void {
    serveControl(server, REGISTER_CHUNKSERVER, (request) => {
      this.#refuse()
      this.registrations.push(request)
      const { diskId, clusterId, address } = request
      if (clusterId !== '' && clusterId !== this.clusterId) throw new LemnisError('WRONG_CLUSTER')
      const known = this.#known.find((other) => other.diskId === diskId)
      const chunkserver = known ?? { id: this.#known.length + 1, diskId, address }
      if (known === undefined) this.#known.push(chunkserver)
      if (known === undefined || chunkserver.address !== address) this.#directoryVersion++
      chunkserver.address = address
      return { id: chunkserver.id, clusterId: this.clusterId, token: tokenOf(diskId) }
    })
    serveControl(server, HEARTBEAT, (report) => {
      this.#refuse()
      const known = this.#known.find(({ id }) => id === report.id)
      if (known === undefined) throw new LemnisError('NOT_FOUND', { chunkserver: report.id })
      if (report.token !== tokenOf(known.diskId)) throw new LemnisError('WRONG_DISK')
      this.reports.set(report.id, report)
      this.heartbeats++
      const isNews = report.directoryVersion !== this.#directoryVersion
      const directory = this.#known.map(({ id, address }) => ({ chunkserver: id, address }))
      return {
        intervalMs: 200,
        orders: this.orders.get(report.id) ?? [],
        directoryVersion: this.#directoryVersion,
        limits: this.limits,
        full: this.full,
        ...(isNews ? { directory } : {}),
      }
    })
  }

  #refuse(): void {
    if (this.refusal !== null) throw new LemnisError(this.refusal)
  }
}

function tokenOf(diskId: string): string {
  return `token-of-${diskId.slice(0, 8)}`
}
