// Owns the check of disks, by what their chunkservers reported last.

import type { Chunkserver } from '../../format/control/parts.ts'
import { type Level, type Outcome, type Row, worst, worstFirst } from '../cli/outcome.ts'
import type { Session } from '../cli/session.ts'
import { counted, share } from '../cli/words.ts'
import { inService, NONE } from './check-chunkservers.ts'

/** Of a disk: beyond it a warning, before new places are refused. */
const FULL_WARNING = 0.85

function judgeDisk({ disk, slow }: Chunkserver): [Level, string] {
  const { state, errors, badBlocks, repairedBlocks, usedBytes, capacityBytes } = disk
  if (state === 'failed') return ['error', 'failed: replace it']
  if (state === 'full') return ['error', 'full: writes to new places wait; add disks or delete']
  if (badBlocks > repairedBlocks) {
    return ['error', 'bad blocks not repaired: `lemnis copyset check --repair`']
  }
  if (errors > 0) return ['warning', 'it returned errors: look at the kernel log, replace it soon']
  if (slow !== undefined) return ['warning', slow.says]
  if (usedBytes > FULL_WARNING * capacityBytes) return ['warning', 'nearly full: add disks']
  if (badBlocks > 0) return ['warning', 'bad blocks were repaired: watch it']
  return ['ok', 'well']
}

export async function checkDisks(session: Session): Promise<Outcome> {
  const all = await inService(session)
  if (all.length === 0) return NONE
  const rows = all.map((one): Row => {
    const [level, says] = judgeDisk(one)
    const { usedBytes, capacityBytes, writeP99Us, errors, badBlocks } = one.disk
    const p99 = writeP99Us === 0 ? '-' : `${(writeP99Us / 1000).toFixed(2)} ms`
    const used = share(usedBytes, capacityBytes)
    const cells = [String(one.id), used, p99, String(errors), String(badBlocks), says]
    return { level, cells }
  })
  const bad = rows.filter(({ level }) => level !== 'ok').length
  const disks = counted(all.length, 'disk')
  return {
    level: worst(rows.map(({ level }) => level)),
    says: bad === 0 ? `${disks}, all well` : `${disks}, ${bad} of them not well`,
    head: ['CHUNKSERVER', 'USED', 'WRITE P99', 'ERRORS', 'BAD BLOCKS', 'WHAT'],
    rows: worstFirst(rows),
  }
}
