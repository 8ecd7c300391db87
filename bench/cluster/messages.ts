// What the bench and its replica processes say to each other over the fork's channel.

export interface ReplicaSettings {
  readonly host: number
  /** All hosts of the cluster; every one founds a replica of every group. */
  readonly hosts: readonly number[]
  readonly groups: number
  readonly directory: string
  /** Port to listen on; 0 picks one. */
  readonly port: number
  readonly checkpointBytes?: number
}

export type ToReplica =
  | { readonly kind: 'addresses'; readonly addresses: Readonly<Record<number, string>> }
  | { readonly kind: 'cpu' }
  | { readonly kind: 'status' }
  | { readonly kind: 'close' }

export interface GroupStatus {
  readonly group: number
  readonly role: string
  readonly term: number
  readonly commit: number
  readonly applied: number
  readonly asleep: boolean
  readonly digest: number
}

export type FromReplica =
  | { readonly kind: 'listening'; readonly address: string }
  | { readonly kind: 'up' }
  | { readonly kind: 'cpu'; readonly micros: number; readonly rssBytes: number }
  | { readonly kind: 'status'; readonly groups: readonly GroupStatus[] }
