// Owns how a replica's id is made: the host that holds it and the count of replicas of the group that
// this host has held before. So an id names its host, and never comes back after a removal.

import { assert } from '../base/assert.ts'
import type { ReplicaId } from '../raft/types.ts'

/** A chunkserver or other process that holds replicas; given by the metadata service. */
export type HostId = number & { readonly brand: 'HostId' }

/** A copyset. */
export type GroupId = number & { readonly brand: 'GroupId' }

/** Where the log of every group begins: the state that all founding replicas have from the start. */
export const BIRTH = { index: 1, term: 1 } as const

const INCARNATIONS = 4096

export function replicaIdOf(host: HostId, incarnation: number): ReplicaId {
  assert(incarnation > 0 && incarnation < INCARNATIONS, 'incarnation of a replica')
  return (host * INCARNATIONS + incarnation) as ReplicaId
}

export function hostOf(replica: ReplicaId): HostId {
  return Math.floor(replica / INCARNATIONS) as HostId
}

export function incarnationOf(replica: ReplicaId): number {
  return replica % INCARNATIONS
}
