// Owns `lemnis copyset check`: asks the members of each copyset for all chunks, compares them, and with
// --repair has those that differ repaired and looks again.

import { LemnisError } from '../../base/errors.ts'
import { REPAIR_CHUNK } from '../../format/control/chunkserver.ts'
import type { Copyset } from '../../format/control/parts.ts'
import { align, type Sight, suspects, type Verdict } from '../cli/compare.ts'
import type { Session } from '../cli/session.ts'
import { look, PAGE_BUDGET_MS, pagesOf, settle } from './copyset-look.ts'

export interface Finding {
  readonly copyset: number
  readonly chunk: number
  readonly verdict: Exclude<Verdict, 'equal'> | 'repaired'
  readonly sights: readonly Sight[]
}

export interface CheckResult {
  readonly copyset: number
  readonly chunks: number
  readonly findings: readonly Finding[]
  /** Members that could not be asked, and why. */
  readonly unreachable: readonly { readonly chunkserver: number; readonly why: string }[]
}

async function repair(session: Session, copyset: Copyset, finding: Finding): Promise<Finding> {
  const ids = suspects(finding.sights)
  for (const { chunkserver, address } of copyset.members) {
    if (!ids.includes(chunkserver)) continue
    const request = { group: copyset.id, chunk: finding.chunk }
    await session.askAt(address, REPAIR_CHUNK, request, PAGE_BUDGET_MS)
  }
  const { verdict, sights } = await settle(
    session,
    copyset,
    finding.chunk,
    await look(session, copyset, finding.chunk),
  )
  return { ...finding, sights, verdict: verdict === 'equal' ? 'repaired' : verdict }
}

export async function checkCopyset(
  session: Session,
  copyset: Copyset,
  repairs: boolean,
): Promise<CheckResult> {
  const unreachable: { chunkserver: number; why: string }[] = []
  const lists = await Promise.all(
    copyset.members.map(async (member) => {
      const { chunkserver } = member
      try {
        return { chunkserver, pages: await pagesOf(session, copyset.id, member) }
      } catch (error) {
        if (!(error instanceof LemnisError)) throw error
        unreachable.push({ chunkserver, why: error.code })
        return null
      }
    }),
  )
  const heard = lists.filter((list) => list !== null)
  const chunks = align(heard)
  const present = {
    ...copyset,
    members: copyset.members.filter((m) => heard.some((h) => h.chunkserver === m.chunkserver)),
  }
  const findings: Finding[] = []
  for (const [chunk, first] of chunks) {
    const { verdict, sights } = await settle(session, present, chunk, first)
    if (verdict === 'equal') continue
    const finding: Finding = { copyset: copyset.id, chunk, verdict, sights }
    findings.push(
      repairs && verdict !== 'changing' ? await repair(session, present, finding) : finding,
    )
  }
  return { copyset: copyset.id, chunks: chunks.size, findings, unreachable }
}
