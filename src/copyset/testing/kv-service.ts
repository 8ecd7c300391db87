// Owns the calls by which clients reach a key-value machine on a copyset host, and a client that looks
// for the leader. Commands go through the log; reads ask for a read index.
//   KV_COMMAND  body: group u53                payload: command
//   KV_READ     body: group u53                payload: key
//   answer      body: found u8, leader u53     payload: result (kv-codec.ts)
// `found` is 0 when this host does not lead; `leader` then says whom it believes to, or 0.

import { must } from '../../base/assert.ts'
import { EMPTY, viewOf } from '../../base/bytes.ts'
import { LemnisError } from '../../base/errors.ts'
import { readU53, writeU53 } from '../../base/u53.ts'
import { METHODS } from '../../format/methods.ts'
import type { ReplicaId } from '../../raft/types.ts'
import type { RpcClient } from '../../rpc/client.ts'
import type { IncomingCall, RpcServer } from '../../rpc/server.ts'
import type { CopysetHost } from '../host.ts'
import { type GroupId, type HostId, hostOf } from '../replica-id.ts'
import type { KvMachine } from './kv.ts'
import { decodeResult, encodeResult, type KvResult } from './kv-codec.ts'

const ANSWER_BYTES = 9

export function serveKv(host: CopysetHost, server: RpcServer): void {
  server.handle(METHODS.KV_COMMAND, (call) => {
    const group = groupOf(call)
    host.propose(group, call.payload, (error, result) => answer(host, group, call, error, result))
  })
  server.handle(METHODS.KV_READ, (call) => {
    const group = groupOf(call)
    const key = new TextDecoder().decode(call.payload)
    host.read(group, (error) => {
      if (error !== null) {
        answer(host, group, call, error, EMPTY)
        return
      }
      const replica = must(host.replica(group), 'a replica that may be read')
      const item = (replica.machine as KvMachine).read(key)
      const result =
        item === null
          ? encodeResult('absent', 0, null)
          : encodeResult('done', item.index, item.value)
      answer(host, group, call, null, result)
    })
  })
}

function groupOf(call: IncomingCall): GroupId {
  if (call.body.byteLength < 8) throw new LemnisError('INVALID_ARGUMENT', { field: 'group' })
  return readU53(viewOf(call.body), 0) as GroupId
}

function answer(
  host: CopysetHost,
  group: GroupId,
  call: IncomingCall,
  error: LemnisError | null,
  result: Uint8Array,
): void {
  if (error !== null && error.code !== 'NOT_LEADER') {
    call.fail(error)
    return
  }
  const body = new Uint8Array(ANSWER_BYTES)
  const view = viewOf(body)
  view.setUint8(0, error === null ? 1 : 0)
  writeU53(view, 1, error === null ? 0 : (host.replica(group)?.leader ?? 0))
  call.reply(body, result)
}

export type KvDone = (error: LemnisError | null, result: KvResult | null) => void

/** A client of one group. Sends each call once, to the host that it believes to lead. */
export class KvClient {
  readonly #group: Uint8Array
  readonly #hosts: readonly HostId[]
  readonly #clientOf: (host: HostId) => RpcClient
  #leader: HostId

  constructor(group: GroupId, hosts: readonly HostId[], clientOf: (host: HostId) => RpcClient) {
    this.#group = new Uint8Array(8)
    writeU53(viewOf(this.#group), 0, group)
    this.#hosts = hosts
    this.#clientOf = clientOf
    this.#leader = hosts[0] as HostId
  }

  get leader(): HostId {
    return this.#leader
  }

  command(command: Uint8Array, timeoutMs: number, done: KvDone): void {
    this.#call(METHODS.KV_COMMAND, command, timeoutMs, done)
  }

  read(key: Uint8Array, timeoutMs: number, done: KvDone): void {
    this.#call(METHODS.KV_READ, key, timeoutMs, done)
  }

  #call(method: number, payload: Uint8Array, timeoutMs: number, done: KvDone): void {
    const asked = this.#leader
    this.#clientOf(asked).call(method, this.#group, payload, timeoutMs, (error, reply) => {
      if (error !== null || reply === null) {
        this.#next(asked)
        done(error ?? new LemnisError('DISCONNECTED'), null)
        return
      }
      const view = viewOf(reply.body)
      if (view.getUint8(0) === 1) {
        done(null, decodeResult(reply.payload))
        return
      }
      const leader = readU53(view, 1) as ReplicaId
      if (leader !== 0) this.#leader = hostOf(leader)
      else this.#next(asked)
      done(new LemnisError('NOT_LEADER'), null)
    })
  }

  /** The next host in turn, unless another call has moved on already. */
  #next(asked: HostId): void {
    if (this.#leader !== asked) return
    const at = this.#hosts.indexOf(asked)
    this.#leader = this.#hosts[(at + 1) % this.#hosts.length] as HostId
  }
}
