// Owns the check of the metadata servers and of the store of their records: who leads, who stands by,
// and whether each has what it needs to take over.

import { asLemnisError, ERRORS, type ErrorCode } from '../../base/errors.ts'
import { SHOW_MDS } from '../../format/control/election.ts'
import { askJson } from '../cli/http.ts'
import { type Level, type Outcome, type Row, worst, worstFirst } from '../cli/outcome.ts'
import { askMds, type MdsFacts } from '../cli/roles.ts'
import type { Session } from '../cli/session.ts'
import { counted } from '../cli/words.ts'
import type { MetastoreFacts } from '../roles/metastore-look.ts'
import { judgeStore, type StoreVerdict } from './check-store.ts'

const ASK_MS = 3000
/** An MDS that looks at etcd waits for a member that hangs before it asks the next one. */
const LOOK_MS = 10_000
const SILENT: Partial<Record<ErrorCode, string>> = {
  DEADLINE_EXCEEDED: `does not answer within ${ASK_MS / 1000} s: it may hang`,
  DISCONNECTED: 'nobody answers there: it is down, or hangs',
}

interface Seen {
  readonly address: string
  readonly facts: MdsFacts | null
  readonly why: string
}

async function look(session: Session, address: string): Promise<Seen> {
  try {
    return { address, facts: await session.askAt(address, SHOW_MDS, {}, ASK_MS), why: '' }
  } catch (thrown) {
    const { code } = asLemnisError(thrown)
    return { address, facts: null, why: SILENT[code] ?? ERRORS[code].says }
  }
}

function judge({ facts, why }: Seen): [Level, string] {
  if (facts === null) return ['warning', why]
  if (facts.role === 'standby' && !facts.warm)
    return ['warning', 'stands by, still reading records']
  if (facts.role === 'standby') return ['ok', 'stands by with all records at hand']
  return facts.role === 'leader' ? ['ok', 'leads'] : ['warning', 'elected, does not serve yet']
}

function verdict(seen: readonly Seen[]): [Level, string] {
  const facts = seen.map((one) => one.facts).filter((one) => one !== null)
  const leaders = facts.filter(({ role }) => role === 'leader')
  if (leaders.length > 1)
    return ['error', `${leaders.length} MDS say that they lead: report this bug`]
  const [leader] = leaders
  if (leader === undefined) return ['error', 'no MDS leads; opening, creating and healing wait']
  if (leader.store === 'embedded') {
    return ['ok', `the embedded store of ${leader.name}, the only MDS; back its directory up`]
  }
  const standbys = facts.filter(({ role }) => role === 'standby').length
  if (standbys === 0)
    return ['warning', `${leader.name} leads on etcd and nobody stands by: start another`]
  return ['ok', `${leader.name} leads on etcd, ${counted(standbys, 'MDS', 'MDS')} stand by`]
}

/** As the leader sees it; what can't be asked is said and is no verdict on the store. */
async function lookAtStore(first: MdsFacts): Promise<StoreVerdict> {
  const http = first.leader?.httpAddress ?? first.httpAddress
  if (http === undefined) return { remarks: [], rows: [] }
  try {
    return judgeStore(await askJson<MetastoreFacts>(http, '/debug/metastore', LOOK_MS))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return { remarks: [['unknown', `the store could not be looked at: ${why}`]], rows: [] }
  }
}

export async function checkMetastore(session: Session): Promise<Outcome> {
  const first = await askMds(session)
  if (first === null) {
    const says = 'The MDS is of a version that does not tell; upgrade it.'
    return { level: 'unknown', says, head: [], rows: [] }
  }
  const addresses = first.candidates.map(({ address }) => address)
  const given = first.store === 'etcd' ? session.mdsAddresses : []
  const all = [...new Set([...addresses, ...given])]
  const [store, ...seen] = await Promise.all([
    lookAtStore(first),
    ...all.map((address) => look(session, address)),
  ])
  const rows = seen.map((one): Row => {
    const [level, says] = judge(one)
    const cells = [one.facts?.name ?? '-', one.address, String(one.facts?.term ?? '-'), says]
    return { level, cells }
  })
  const verdicts = [verdict(seen), ...store.remarks]
  return {
    level: worst([...verdicts.map(([level]) => level), ...rows.map(({ level }) => level)]),
    says: verdicts.map(([, says]) => says).join('; '),
    head: ['WHO', 'ADDRESS', 'TERM', 'WHAT'],
    rows: [...worstFirst(rows), ...worstFirst(store.rows)],
  }
}
