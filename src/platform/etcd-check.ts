// Owns the look at an etcd from outside, for `lemnis check metastore`: who its members are, which one
// leads, how full it is, what it complains about, and whether it takes commits of our size.

import { asLemnisError, type ErrorCode, LemnisError } from '../base/errors.ts'
import { META_CHANGES_MAX } from '../env/metastore.ts'
import { SILENT } from '../observe/observe.ts'
import { type EtcdConfig, etcdConfig } from './etcd-config.ts'
import { EtcdKeys } from './etcd-keys.ts'
import { EtcdMembers, type Member } from './etcd-members.ts'
import { etcdQuotaBytes } from './etcd-quota.ts'
import {
  ALARM_NAMES,
  ALARMS,
  COMPARE_MOD_REVISION,
  MEMBER_LIST,
  type Method,
  RANGE,
  STATUS,
  TXN,
} from './etcd-schema.ts'
import type { Given, Message, Schema } from './protobuf.ts'

export interface EtcdMemberHealth {
  readonly endpoint: string
  /** Null when it did not answer. */
  readonly status: {
    readonly version: string
    readonly dbBytes: number
    readonly dbBytesInUse: number
    /** Where it stops taking changes; null when it does not say. */
    readonly quotaBytes: number | null
    readonly raftTerm: number
    readonly raftIndex: number
    readonly errors: readonly string[]
  } | null
  readonly isLeader: boolean
  /** Why it did not answer. */
  readonly problem: string | null
}

export interface EtcdHealth {
  readonly members: readonly EtcdMemberHealth[]
  /** Those that the members know of, as etcd names them. */
  readonly known: readonly { readonly name: string; readonly clientUrls: readonly string[] }[]
  readonly alarms: readonly string[]
  /** Commits that it would refuse for their size, and the flags that it needs. */
  readonly refusals: readonly string[]
  /** Of a linearizable read; null when no member could do one. */
  readonly readMs: number | null
}

/** The records of 60,000 copysets in one commit are less. */
const COMMIT_BYTES = 24 * 1024 * 1024

export async function readEtcdHealth(
  endpoints: readonly string[],
  replaced: Partial<EtcdConfig> = {},
): Promise<EtcdHealth> {
  return withMembers(endpoints, replaced, async (members, config) => {
    const health = await Promise.all(members.all.map((one) => healthOf(members, one, config)))
    const answering = members.all.find((_, i) => health[i]?.status !== null)
    if (answering === undefined) {
      return { members: health, known: [], alarms: [], refusals: [], readMs: null }
    }
    const ask = <Q extends Schema, A extends Schema>(
      method: Method<Q, A>,
      given: Given<Q>,
    ): Promise<Message<A> | null> =>
      members.once(answering, method, given, config.memberTimeoutMs).catch(() => null)
    const startedMs = performance.now()
    const read = await ask(RANGE, { key: keyOf(config), countOnly: true })
    const readMs = read === null ? null : performance.now() - startedMs
    const known = (await ask(MEMBER_LIST, {}))?.members ?? []
    const raised = (await ask(ALARMS, {}))?.alarms ?? []
    const alarms = raised.map(({ alarm }) => ALARM_NAMES[alarm] ?? String(alarm))
    const refusals = readMs === null ? [] : await refusalsOf(members, config)
    return { members: health, known, alarms, refusals, readMs }
  })
}

/** Only how each member is, by what it says itself. */
export async function readEtcdMembers(
  endpoints: readonly string[],
  replaced: Partial<EtcdConfig> = {},
): Promise<EtcdMemberHealth[]> {
  return withMembers(endpoints, replaced, (members, config) =>
    Promise.all(members.all.map((one) => healthOf(members, one, config))),
  )
}

/** Throws when etcd would refuse commits of the largest number of changes. Nothing is written. */
export async function checkEtcdOperations(members: EtcdMembers, config: EtcdConfig): Promise<void> {
  // Comparisons are counted like changes; after the first, which is wrong, none is looked at.
  const wrong = wrongComparison(config)
  await members.ask(TXN, { compare: Array.from({ length: META_CHANGES_MAX + 1 }, () => wrong) })
}

/** Throws when etcd would refuse a commit that is as large as one may get. Nothing is written. */
async function checkEtcdBytes(members: EtcdMembers, config: EtcdConfig): Promise<void> {
  const wrong = wrongComparison(config)
  const key = new Uint8Array(COMMIT_BYTES).fill(0x20)
  key.set(wrong.key)
  await members.ask(TXN, { compare: [wrong, { ...wrong, key }] })
}

/** Where this store may read, and no item lies. */
function keyOf({ prefix }: EtcdConfig): Uint8Array {
  return new EtcdKeys(prefix).bytesOf(' check')
}

function wrongComparison(config: EtcdConfig): {
  readonly key: Uint8Array
  readonly target: number
  readonly modRevision: number
} {
  return { key: keyOf(config), target: COMPARE_MOD_REVISION, modRevision: 1 }
}

async function refusalsOf(members: EtcdMembers, config: EtcdConfig): Promise<string[]> {
  const refusals: string[] = []
  for (const check of [checkEtcdOperations, checkEtcdBytes]) {
    const error = await check(members, config).then(() => null, asLemnisError)
    if (error?.code !== 'INVALID_ARGUMENT') continue
    const { reason, cure } = error.detail
    refusals.push([reason, cure].filter((one) => one !== undefined).join('; '))
  }
  return refusals
}

async function withMembers<T>(
  endpoints: readonly string[],
  replaced: Partial<EtcdConfig>,
  look: (members: EtcdMembers, config: EtcdConfig) => Promise<T>,
): Promise<T> {
  const config = etcdConfig(replaced)
  const members = new EtcdMembers(endpoints, config, SILENT)
  try {
    return await look(members, config)
  } finally {
    members.close()
  }
}

async function healthOf(
  members: EtcdMembers,
  member: Member,
  config: EtcdConfig,
): Promise<EtcdMemberHealth> {
  const { endpoint } = member
  try {
    const [status, quotaBytes] = await Promise.all([
      members.once(member, STATUS, {}, config.memberTimeoutMs),
      etcdQuotaBytes(endpoint, config),
    ])
    const isLeader = status.leader !== '0' && status.leader === status.header?.memberId
    return { endpoint, status: { ...status, quotaBytes }, isLeader, problem: null }
  } catch (error) {
    if (!(error instanceof LemnisError)) throw error
    return {
      endpoint,
      status: null,
      isLeader: false,
      problem: PROBLEMS[error.code] ?? error.message,
    }
  }
}

/** For people, who want to know what to look at. */
const PROBLEMS: Partial<Record<ErrorCode, string>> = {
  DEADLINE_EXCEEDED: 'does not answer in time: it may hang',
  DISCONNECTED: 'nobody answers there: it is down, or cut off',
}
