// Owns the asking of copysets for changes of chunks that no client asks for: the ending of chunks of
// deleted volumes. Finds the leader among the members that topology knows, follows what refusals say,
// and gives up after a while; who asks repeats it later. Only for changes that may be done twice.

import { asLemnisError, LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import { decodeCopysetLeader, encodeGroup } from '../../format/chunk-replies.ts'
import { type ChunkRequest, encodeChunkRequest } from '../../format/chunk-request.ts'
import { METHODS } from '../../format/methods.ts'
import { RpcClient } from '../../rpc/client.ts'
import type { GroupMember, MdsContext } from '../records.ts'

/** A change as its caller knows it; who leads in which term is found here. */
export type ChunkChange = Pick<ChunkRequest, 'op' | 'group' | 'volume' | 'epoch' | 'sn' | 'chunk'>

interface Leader {
  readonly member: GroupMember
  readonly term: number
}

/** Between two tries; elections take some hundred milliseconds. */
const PAUSE_MS = 200
/** How long members are asked who leads. */
const LEADER_ASK_MS = 1000
/** Tries of one change, each with its pause: long enough for an election. */
const TRIES_MAX = 15

export class ChunkCaller {
  readonly #context: MdsContext
  readonly #env: Env
  readonly #clients = new Map<string, RpcClient>()
  /** Who led last. */
  readonly #leaders = new Map<number, Leader>()
  #isClosed = false

  constructor(context: MdsContext) {
    this.#context = context
    this.#env = context.env
  }

  /** Resolves when the change is applied; rejects when it was refused, or nobody led for too long. */
  async changeChunk(change: ChunkChange): Promise<void> {
    let attempt = 0
    let error = new LemnisError('DISCONNECTED', { group: change.group, what: 'no leader is known' })
    for (let tries = 0; tries < TRIES_MAX && !this.#isClosed; tries++) {
      if (tries > 0) await this.#pause()
      const leader = this.#leaders.get(change.group) ?? (await this.#findLeader(change.group))
      if (leader === null) continue
      try {
        await this.#send(leader, { ...change, attempt })
        return
      } catch (thrown) {
        error = asLemnisError(thrown)
      }
      if (error.code === 'STALE_ATTEMPT') {
        // A writer from before got that far; its requests have their epoch against them.
        attempt = numberIn(error, 'attempt')
      } else if (error.retry === 'never' && error.code !== 'CLOSED') {
        throw error
      } else if (error.code !== 'OVERLOADED') {
        this.#forgetLeader(change.group, error)
      }
    }
    throw this.#isClosed ? new LemnisError('CLOSED', { what: 'chunk caller' }) : error
  }

  /** Ends the connections: they are made again when there is something to ask. */
  async release(): Promise<void> {
    const clients = [...this.#clients.values()]
    this.#clients.clear()
    this.#leaders.clear()
    await Promise.all(clients.map((client) => client.close()))
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.release()
  }

  async #send(leader: Leader, change: ChunkChange & { readonly attempt: number }): Promise<void> {
    const body = encodeChunkRequest({
      ...change,
      firstBlock: 0,
      blockCount: 0,
      term: leader.term,
      crcs: [],
    })
    const { chunkCallTimeoutMs } = this.#context.config
    const client = this.#client(leader.member)
    await client.callAsync(METHODS.CHUNK_CHANGE, body, null, chunkCallTimeoutMs)
  }

  /** A refusal may name the leader; else the members are asked before the next try. */
  #forgetLeader(group: number, error: LemnisError): void {
    this.#leaders.delete(group)
    if (error.code !== 'NOT_LEADER') return
    const named = numberIn(error, 'leader')
    const member = this.#context.topology.membersOf(group).find((m) => m.chunkserver === named)
    if (member !== undefined) this.#leaders.set(group, { member, term: numberIn(error, 'term') })
  }

  /** Asks all members; whoever is named in the newest term. */
  async #findLeader(group: number): Promise<Leader | null> {
    const members = this.#context.topology.membersOf(group)
    const question = encodeGroup(group)
    const answers = await Promise.all(
      members.map(async (member) => {
        try {
          const reply = await this.#client(member).callAsync(
            METHODS.COPYSET_LEADER,
            question,
            null,
            LEADER_ASK_MS,
          )
          return decodeCopysetLeader(reply.body)
        } catch (error) {
          asLemnisError(error)
          return null
        }
      }),
    )
    let found: Leader | null = null
    for (const answer of answers) {
      const member = members.find(({ chunkserver }) => chunkserver === answer?.leader)
      if (answer === null || member === undefined || answer.term <= (found?.term ?? 0)) continue
      found = { member, term: answer.term }
    }
    if (found !== null) this.#leaders.set(group, found)
    return found
  }

  #client({ address }: GroupMember): RpcClient {
    const known = this.#clients.get(address)
    if (known !== undefined) return known
    const client = new RpcClient(
      this.#env,
      this.#context.observer,
      address,
      this.#context.rpc,
      'mds',
    )
    this.#clients.set(address, client)
    if (this.#isClosed) void client.close()
    return client
  }

  #pause(): Promise<void> {
    return new Promise((done) => void this.#env.clock.after(PAUSE_MS, done))
  }
}

function numberIn(error: LemnisError, field: string): number {
  const value = error.detail[field]
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0
}
