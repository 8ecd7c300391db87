// Owns what `lemnis check metastore` says of the store itself, as the MDS that leads sees it.

import type { Level, Row } from '../cli/outcome.ts'
import { counted, size } from '../cli/words.ts'
import type { MetastoreFacts } from '../roles/metastore-look.ts'

/** An embedded store that can't grow stops the MDS. */
const FREE_BYTES_MIN = 256 * 1024 * 1024
/** A linearizable read takes a round between the members; each commit takes a sync more. */
const READ_WARNING_MS = 100

export interface StoreVerdict {
  readonly remarks: readonly (readonly [Level, string])[]
  readonly rows: readonly Row[]
}

type Etcd = Extract<MetastoreFacts, { store: 'etcd' }>

function memberRow({ endpoint, status, isLeader, problem }: Etcd['members'][number]): Row {
  if (status === null) {
    return { level: 'warning', cells: ['etcd', endpoint, '-', problem ?? 'it does not answer'] }
  }
  const does = isLeader ? 'leads' : 'follows'
  const says = `${does}, version ${status.version}, ${size(status.dbBytes)}`
  const level = status.errors.length === 0 ? 'ok' : 'error'
  const cells = ['etcd', endpoint, String(status.raftTerm), [says, ...status.errors].join(': ')]
  return { level, cells }
}

function judgeEtcd({ members, alarms, readMs }: Etcd): StoreVerdict {
  const remarks = alarms.map((alarm): [Level, string] => ['error', `etcd has the alarm ${alarm}`])
  if (readMs === null) remarks.push(['error', 'no member of etcd could read'])
  else if (readMs > READ_WARNING_MS) {
    remarks.push(['warning', `a read takes ${Math.round(readMs)} ms: look at the disks of etcd`])
  }
  const away = members.filter(({ status }) => status === null).length
  if (away > 0) remarks.push(['warning', `${counted(away, 'member')} of etcd away`])
  return { remarks, rows: members.map(memberRow) }
}

export function judgeStore(facts: MetastoreFacts): StoreVerdict {
  if (facts.store === 'etcd') return judgeEtcd(facts)
  const { usedBytes, freeBytes } = facts
  const says = `the store takes ${size(usedBytes)}, ${size(freeBytes)} are free beside it`
  return { remarks: [[freeBytes < FREE_BYTES_MIN ? 'error' : 'ok', says]], rows: [] }
}
