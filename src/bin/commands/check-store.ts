// Owns what `lemnis check metastore` says of the store itself, as the MDS that leads sees it.

import type { Level, Row } from '../cli/outcome.ts'
import { counted, share, size } from '../cli/words.ts'
import type { MetastoreFacts } from '../roles/metastore-look.ts'

/** An embedded store that can't grow stops the MDS. */
const FREE_BYTES_MIN = 256 * 1024 * 1024
/** A linearizable read takes a round between the members; each commit takes a sync more. */
const READ_WARNING_MS = 100
/** Of what the database of etcd may take. */
const QUOTA_WARNING = 0.75
/** With what helps. */
const ALARMS: Readonly<Record<string, string>> = {
  NOSPACE:
    'etcd is full and takes no change (alarm NOSPACE): compact and defragment it, or raise ' +
    '--quota-backend-bytes, then `etcdctl alarm disarm`',
  CORRUPT: 'members of etcd differ (alarm CORRUPT): replace the one that is damaged',
}

export interface StoreVerdict {
  readonly remarks: readonly (readonly [Level, string])[]
  readonly rows: readonly Row[]
}

type Etcd = Extract<MetastoreFacts, { store: 'etcd' }>

function memberRow({ endpoint, status, isLeader, problem }: Etcd['members'][number]): Row {
  if (status === null) {
    return { level: 'warning', cells: ['etcd', endpoint, '-', problem ?? 'it does not answer'] }
  }
  const { version, dbBytes, quotaBytes, raftTerm, errors } = status
  const of = quotaBytes === null ? '' : ` of ${size(quotaBytes)}`
  const says = `${isLeader ? 'leads' : 'follows'}, version ${version}, ${size(dbBytes)}${of}`
  const isNearlyFull = quotaBytes !== null && dbBytes > QUOTA_WARNING * quotaBytes
  const level = errors.length > 0 ? 'error' : isNearlyFull ? 'warning' : 'ok'
  return { level, cells: ['etcd', endpoint, String(raftTerm), [says, ...errors].join(': ')] }
}

/** How full the fullest member is, when that is worth a word. */
function quotaRemark(members: Etcd['members']): readonly (readonly [Level, string])[] {
  const used = members.map(({ status }) =>
    status === null || status.quotaBytes === null ? 0 : status.dbBytes / status.quotaBytes,
  )
  const most = Math.max(0, ...used)
  if (most <= QUOTA_WARNING) return []
  const says = `the database of etcd takes ${share(most, 1)} of its quota, at which it stops`
  return [['warning', `${says}: defragment it, or raise --quota-backend-bytes`]]
}

function judgeEtcd({ members, known, alarms, refusals, readMs }: Etcd): StoreVerdict {
  const remarks: (readonly [Level, string])[] = alarms.map((alarm) => [
    'error',
    ALARMS[alarm] ?? `etcd has the alarm ${alarm}`,
  ])
  if (readMs === null) remarks.push(['error', 'no member of etcd could read'])
  else if (readMs > READ_WARNING_MS) {
    remarks.push(['warning', `a read takes ${Math.round(readMs)} ms: look at the disks of etcd`])
  }
  for (const refusal of refusals) remarks.push(['error', `etcd would refuse a commit: ${refusal}`])
  const away = members.filter(({ status }) => status === null).length
  if (away > 0) remarks.push(['warning', `${counted(away, 'member')} of etcd away`])
  if (known.length > members.length) {
    const some = `${members.length} of ${known.length} members of etcd`
    remarks.push(['warning', `the MDS was told ${some}: name all of them by --etcd`])
  }
  return { remarks: [...remarks, ...quotaRemark(members)], rows: members.map(memberRow) }
}

export function judgeStore(facts: MetastoreFacts): StoreVerdict {
  if (facts.store === 'etcd') return judgeEtcd(facts)
  const { usedBytes, freeBytes } = facts
  const says = `the store takes ${size(usedBytes)}, ${size(freeBytes)} are free beside it`
  return { remarks: [[freeBytes < FREE_BYTES_MIN ? 'error' : 'ok', says]], rows: [] }
}
