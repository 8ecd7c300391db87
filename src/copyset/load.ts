// Owns how a replica comes back after a start: state machine and log are opened and made to agree.
// The machine's checkpoint carries the mark of where it stands. It may be ahead of the log (a crash
// between the two; the log then begins again at the mark) but never behind what the log still has.

import { LemnisError } from '../base/errors.ts'
import type { SnapshotMark } from '../raft/types.ts'
import type { GroupLog } from '../raftlog/group-log.ts'
import type { RaftLog } from '../raftlog/raftlog.ts'
import { decodeMark } from './mark-codec.ts'
import { Replica, type ReplicaHost } from './replica.ts'
import { BIRTH, type GroupId } from './replica-id.ts'
import type { Machines, StateMachine } from './state-machine.ts'

/** A replica of a recovered group; CORRUPT when what the disk holds can't be trusted. */
export async function loadReplica(
  host: ReplicaHost,
  group: GroupId,
  machines: Machines,
): Promise<Replica> {
  const log = host.log.group(group)
  const machine = await machines.open(group, log.replica)
  try {
    const base = await reconcile(host.log, log, group, machine)
    return new Replica(host, group, log, machine, base)
  } catch (error) {
    await machine.close()
    throw error
  }
}

async function reconcile(
  log: RaftLog,
  groupLog: GroupLog,
  group: GroupId,
  machine: StateMachine,
): Promise<SnapshotMark> {
  const logMark = groupLog.mark
  const base = machine.mark.byteLength > 0 ? decodeMark(machine.mark) : logMark
  if (base === null) throw new LemnisError('CORRUPT', { group, reason: 'no mark' })
  // Only a group at its birth has a mark and no state.
  const stateIndex = machine.mark.byteLength > 0 ? base.index : BIRTH.index
  if (logMark !== null && logMark.index > stateIndex) {
    throw new LemnisError('CORRUPT', { group, reason: 'state older than its log’s checkpoint' })
  }
  if (base.index > groupLog.lastIndex() || groupLog.term(base.index) !== base.term) {
    await new Promise<void>((resolve, reject) => {
      log.append({ group, mark: base, restart: true }, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }
  return base
}
