// Owns an MDS that says what a test wants, on the wire: volumes, leases and segments in memory, without
// rules beyond those that a client relies on.

import { must } from '../../base/assert.ts'
import { LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import { SEGMENT_CHUNKS } from '../../format/chunk-request.ts'
import type { ControlCall, ReplyOf, RequestOf } from '../../format/control/call.ts'
import {
  CLOSE_VOLUME,
  CREATE_VOLUME,
  GET_SEGMENTS,
  type Lease,
  LIST_VOLUMES,
  LOCATE_COPYSETS,
  OPEN_VOLUME,
  RENAME_VOLUME,
  RENEW_LEASE,
  RESIZE_VOLUME,
  SHOW_VOLUME,
} from '../../format/control/mds.ts'
import type { Segment, Volume } from '../../format/control/parts.ts'
import { SILENT } from '../../observe/observe.ts'
import { rpcConfig } from '../../rpc/config.ts'
import { serveControl } from '../../rpc/control.ts'
import { RpcServer } from '../../rpc/server.ts'

export const MDS_ADDRESS = 'mds:7400'

interface ScriptedVolume {
  info: Volume
  readonly segments: Map<number, Segment>
}

export class ScriptedMds {
  leaseMs = 2000
  /** Calls are taken and never answered. */
  isSilent = false
  /** Thrown at the next calls of a name, once each. */
  readonly failures: { readonly call: string; readonly error: LemnisError }[] = []
  /** Names of calls in the order in which they came. */
  readonly calls: string[] = []
  readonly groupCount: number
  members: (group: number) => readonly number[]
  addressOf: (chunkserver: number) => string = (chunkserver) => `cs${chunkserver}:7000`
  leaderOf: (group: number) => number
  readonly #volumes = new Map<number, ScriptedVolume>()
  #serial = 0

  constructor(
    groupCount: number,
    members: (group: number) => readonly number[],
    leaderOf: (group: number) => number,
  ) {
    this.groupCount = groupCount
    this.members = members
    this.leaderOf = leaderOf
  }

  async serve(env: Env): Promise<void> {
    const server = await RpcServer.listen(env, SILENT, MDS_ADDRESS, rpcConfig(), 'mds')
    const serve = <C extends ControlCall>(
      call: C,
      work: (request: RequestOf<C>) => ReplyOf<C>,
    ): void => {
      serveControl(server, call, (request) => this.#answer(call.name, () => work(request)))
    }
    serve(CREATE_VOLUME, (request) => this.#create(request))
    serve(SHOW_VOLUME, ({ name }) => this.named(name).info)
    serve(LIST_VOLUMES, () => ({
      volumes: [...this.#volumes.values()].map(({ info }) => info),
    }))
    serve(RESIZE_VOLUME, ({ name, sizeBytes }) => this.change(name, { sizeBytes }))
    serve(RENAME_VOLUME, ({ name, to }) => this.change(name, { name: to }))
    serve(OPEN_VOLUME, (request) => this.#open(request))
    serve(RENEW_LEASE, ({ volume, epoch }) => this.#renew(volume, epoch))
    serve(CLOSE_VOLUME, ({ volume }) => this.#close(volume))
    serve(GET_SEGMENTS, (request) => this.#segments(request))
    serve(LOCATE_COPYSETS, ({ groups }) => ({
      copysets: groups.map((group) => ({
        group,
        leader: this.leaderOf(group),
        members: this.members(group).map((chunkserver) => ({
          chunkserver,
          address: this.addressOf(chunkserver),
        })),
      })),
    }))
  }

  named(name: string): ScriptedVolume {
    for (const volume of this.#volumes.values()) if (volume.info.name === name) return volume
    throw new LemnisError('NOT_FOUND', { name })
  }

  change(name: string, replaced: Partial<Volume>): Volume {
    const volume = this.named(name)
    volume.info = { ...volume.info, ...replaced }
    return volume.info
  }

  remove(name: string): void {
    this.#volumes.delete(this.named(name).info.id)
  }

  count(call: string): number {
    return this.calls.filter((name) => name === call).length
  }

  #answer<T>(call: string, work: () => T): T | Promise<T> {
    this.calls.push(call)
    if (this.isSilent) return new Promise<T>(() => {})
    const at = this.failures.findIndex((failure) => failure.call === call)
    if (at >= 0) throw must(this.failures.splice(at, 1)[0], 'a failure').error
    return work()
  }

  #create(request: RequestOf<typeof CREATE_VOLUME>): Volume {
    const id = this.#volumes.size + 1
    const info: Volume = {
      id,
      name: request.name,
      sizeBytes: request.sizeBytes,
      stripeUnitBytes: request.stripeUnitBytes,
      stripeCount: request.stripeCount,
      pool: 'default',
      state: 'ready',
      sn: 1,
      epoch: 0,
      iopsMax: request.iopsMax,
      bytesPerSecondMax: request.bytesPerSecondMax,
      createdMs: 1,
      segmentsAllocated: 0,
    }
    this.#volumes.set(id, { info, segments: new Map() })
    return info
  }

  #open(request: RequestOf<typeof OPEN_VOLUME>): Lease {
    const volume = this.named(request.name)
    const { client, address } = request
    if (request.mode === 'write' && volume.info.holder?.client !== client) {
      if (volume.info.holder !== undefined && !request.force) {
        throw new LemnisError('IN_USE', { holder: volume.info.holder.client })
      }
      const holder = { client, address, sinceMs: 1 }
      volume.info = { ...volume.info, epoch: volume.info.epoch + 1, holder }
    }
    return { volume: volume.info, epoch: volume.info.epoch, leaseMs: this.leaseMs }
  }

  #renew(id: number, epoch: number): Lease {
    const { info } = this.#byId(id)
    if (epoch !== 0 && info.epoch !== epoch) {
      throw new LemnisError('FENCED', { presentEpoch: info.epoch, epoch })
    }
    return { volume: info, epoch: info.epoch, leaseMs: this.leaseMs }
  }

  #close(id: number): Record<string, never> {
    const volume = this.#byId(id)
    const info = { ...volume.info }
    delete info.holder
    volume.info = info
    return {}
  }

  #segments(request: RequestOf<typeof GET_SEGMENTS>): { segments: Segment[] } {
    const { from, to, allocate, epoch } = request
    const volume = this.#byId(request.volume)
    if (allocate && epoch !== volume.info.epoch) throw new LemnisError('FENCED', { epoch })
    const segments: Segment[] = []
    for (let index = from; index < to; index++) {
      if (allocate && !volume.segments.has(index)) {
        const firstChunk = this.#serial++ * SEGMENT_CHUNKS + 1
        const groups = Array.from(
          { length: SEGMENT_CHUNKS },
          (_, i) => ((index + i) % this.groupCount) + 1,
        )
        volume.segments.set(index, { index, firstChunk, groups })
        volume.info = { ...volume.info, segmentsAllocated: volume.segments.size }
      }
      const segment = volume.segments.get(index)
      if (segment !== undefined) segments.push(segment)
    }
    return { segments }
  }

  #byId(id: number): ScriptedVolume {
    const volume = this.#volumes.get(id)
    if (volume === undefined) throw new LemnisError('NOT_FOUND', { id })
    return volume
  }
}
