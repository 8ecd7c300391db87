// Owns the list of all roles of a cluster that have an HTTP port, as far as the MDS knows them: all MDS,
// all chunkservers, and whoever holds a volume open for writing.

import { LemnisError } from '../../base/errors.ts'
import type { ReplyOf } from '../../format/control/call.ts'
import { SHOW_MDS } from '../../format/control/election.ts'
import type { Chunkserver, Volume } from '../../format/control/parts.ts'
import { httpOfHolder } from '../roles/holder.ts'
import { allChunkservers, allVolumes } from './pages.ts'
import type { Session } from './session.ts'

export type MdsFacts = ReplyOf<typeof SHOW_MDS>

export interface HttpRole {
  readonly role: string
  /** `mds-1`, `chunkserver 3`, `nbd on host7, pid 123`. */
  readonly name: string
  readonly http: string
  readonly labels: Readonly<Record<string, string>>
}

/** What an MDS knows of all of them; null from one of a version that has no election. */
export async function askMds(session: Session): Promise<MdsFacts | null> {
  try {
    return await session.ask(SHOW_MDS, {})
  } catch (error) {
    if (error instanceof LemnisError && error.code === 'UNKNOWN_METHOD') return null
    throw error
  }
}

export function roleOf({ id, httpAddress, pool, zone, server }: Chunkserver): HttpRole {
  const labels = { chunkserver: String(id), pool, zone, server }
  return { role: 'chunkserver', name: `chunkserver ${id}`, http: httpAddress, labels }
}

function ofHolder({ holder }: Volume): HttpRole[] {
  if (holder === undefined) return []
  const http = httpOfHolder(holder.address)
  if (http === null) return []
  const [role = 'client'] = holder.address.split(' ', 1)
  return [{ role, name: holder.address.replace(/, http:.*/, ''), http, labels: {} }]
}

/** Each HTTP port once. */
export async function httpRoles(session: Session): Promise<HttpRole[]> {
  const [mds, chunkservers, volumes] = await Promise.all([
    askMds(session),
    allChunkservers(session),
    allVolumes(session, false),
  ])
  const all: HttpRole[] = [
    ...(mds?.candidates ?? []).map(({ name, httpAddress }) => ({
      role: 'mds',
      name,
      http: httpAddress ?? '',
      labels: { name },
    })),
    ...chunkservers.filter(({ state }) => state !== 'retired').map(roleOf),
    ...volumes.flatMap(ofHolder),
  ]
  const byAddress = new Map(all.map((one) => [one.http, one]))
  byAddress.delete('')
  return [...byAddress.values()]
}
