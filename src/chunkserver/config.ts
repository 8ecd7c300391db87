// Owns the settings of a chunkserver's own work (chunk I/O, scrub, word to the MDS) and the relations
// between them. The log, the store, the host and RPC have tables of their own.

import {
  bytesSetting,
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { LemnisError } from '../base/errors.ts'
import { formatBytes, KIB, MIB } from '../base/units.ts'
import type { ChunkStoreSettings } from '../chunkstore/config.ts'
import type { RaftLogSettings } from '../raftlog/config.ts'

export const CHUNKSERVER_CONFIG = {
  registerRetryMs: durationSetting(500, 'Gap between tries to register while no MDS answers.'),
  heartbeatIntervalMs: durationSetting(
    1000,
    'Gap between heartbeats until the MDS has named another.',
  ),
  heartbeatIntervalMaxMs: durationSetting(
    60_000,
    'A longer gap is not kept, whatever the MDS names.',
  ),
  mdsTimeoutMs: durationSetting(
    3000,
    'A call to one MDS not answered in this time goes to the next.',
  ),
  readBytesMax: bytesSetting(64 * MIB, 'Bytes of reads under way; more are OVERLOADED.'),
  overloadedHintMs: durationSetting(20, 'When a refused caller is told to come back.'),
  fullHintMs: durationSetting(500, 'When a writer is told to come back to a full disk.'),
  qosBurstMs: durationSetting(
    2000,
    'How much of a volume’s limit may come at once; above the burst that its client allows itself.',
  ),
  attemptsMax: countSetting(4096, 'Volumes of one copyset whose given-up attempts are remembered.'),
  peerTimeoutMs: durationSetting(
    3000,
    'A question to another replica not answered in this time fails.',
  ),
  repairsAtOnceMax: countSetting(
    4,
    'Chunks repaired at once; reads of others wait for their turn.',
  ),
  repairsWaitingMax: countSetting(256, 'Chunks that wait for repair; more are found again later.'),
  repairTriesMax: countSetting(4, 'Rounds in which the other members are asked for bad blocks.'),
  repairRetryMs: durationSetting(300, 'Gap between these rounds.'),
  mendRetryMs: durationSetting(
    60_000,
    'Gap before blocks that no other member had good are asked for again.',
  ),
  scrubBytesPerSecond: bytesSetting(16 * MIB, 'Rate at which scrub reads this disk.'),
  scrubPageChunks: countSetting(16, 'Chunks that scrub compares with the other replicas at once.'),
  scrubRetryMs: durationSetting(
    1000,
    'Gap before chunks that writes changed during the comparison are compared again.',
  ),
  scrubTriesMax: countSetting(
    5,
    'Comparisons of a chunk under constant writes before it is passed.',
  ),
  upkeepIntervalMs: durationSetting(2000, 'How often replicas are looked at for checkpoints.'),
  checkpointAgeMs: durationSetting(
    120_000,
    'A replica that has changed something checkpoints after this time; on a full disk at once.',
  ),
  recoveryBytesPerSecondMin: bytesSetting(
    8 * MIB,
    'Rate at which state is rebuilt at least, whatever clients feel.',
  ),
  recoveryLatencyPercent: countSetting(
    150,
    'Rebuilding slows down while clients wait longer than this part of the usual time.',
  ),
  recoveryLatencySlackMs: durationSetting(1, 'So much longer than usual never slows it down.'),
  handOverMs: durationSetting(1000, 'A stop waits so long for other members to take the lead.'),
  waitsAfterMs: durationSetting(1000, 'What lasts longer is listed among the waits.'),
}

/** Switches that break the chunkserver on purpose, for the simulator's checkers to find. */
export type ChunkserverBug =
  /** The write epoch is looked at by the leader only, and not where an entry is applied. */
  | 'epoch-before-propose-only'
  /** Followers do not apply zeroes. */
  | 'discard-not-replicated'
  /** Term and attempt of a change are not looked at. */
  | 'no-attempt-check'

export type ChunkserverConfig = ConfigOf<typeof CHUNKSERVER_CONFIG>

export const CHUNKSERVER_RELATIONS: readonly Relation<ChunkserverConfig>[] = [
  {
    holds: (c) => c.heartbeatIntervalMs > 0 && c.heartbeatIntervalMs <= c.heartbeatIntervalMaxMs,
    says: 'heartbeatIntervalMs must be above 0 and not above heartbeatIntervalMaxMs',
  },
  {
    holds: (c) => c.upkeepIntervalMs > 0 && c.upkeepIntervalMs <= c.checkpointAgeMs,
    says: 'upkeepIntervalMs must be above 0 and not above checkpointAgeMs',
  },
  {
    holds: (c) => c.recoveryBytesPerSecondMin >= 64 * KIB && c.recoveryLatencyPercent > 100,
    says: 'recoveryBytesPerSecondMin must be at least 64 KiB, recoveryLatencyPercent above 100',
  },
  {
    holds: (c) => c.readBytesMax >= MIB,
    says: 'readBytesMax must hold one read of 1 MiB',
  },
  {
    holds: (c) => c.scrubBytesPerSecond >= 64 * KIB,
    says: 'scrubBytesPerSecond must be at least 64 KiB, or a scrub never ends',
  },
  {
    holds: (c) => c.scrubPageChunks >= 1 && c.scrubPageChunks <= 1024,
    says: 'scrubPageChunks must be from 1 to 1024',
  },
  {
    holds: (c) =>
      c.repairsAtOnceMax >= 1 &&
      c.repairTriesMax >= 1 &&
      c.attemptsMax >= 1 &&
      c.scrubTriesMax >= 1,
    says: 'repairsAtOnceMax, repairTriesMax, attemptsMax and scrubTriesMax must be at least 1',
  },
]

export function chunkserverConfig(replaced: Partial<ChunkserverConfig> = {}): ChunkserverConfig {
  return makeConfig(CHUNKSERVER_CONFIG, replaced, CHUNKSERVER_RELATIONS)
}

/**
 * What must hold between the store and the log of one disk, or a disk that runs full stands still:
 * its every way out writes to the log. INVALID_ARGUMENT with what is missing.
 */
export function checkReserve(
  log: Pick<RaftLogSettings, 'segmentBytes' | 'segmentsPinned' | 'segmentsSpare'>,
  store: Pick<ChunkStoreSettings, 'reserveBytes' | 'dirtyBytesMax'>,
): void {
  // The one more is made while the oldest is still held.
  const segments = log.segmentsPinned + log.segmentsSpare + 1
  const neededBytes = segments * log.segmentBytes + store.dirtyBytesMax
  if (store.reserveBytes >= neededBytes) return
  const needed = formatBytes(neededBytes)
  throw new LemnisError('INVALID_ARGUMENT', {
    setting: 'chunkstore.reserveBytes',
    reserved: formatBytes(store.reserveBytes),
    needed,
    reason:
      `it must be at least ${needed}: (raftlog.segmentsPinned + raftlog.segmentsSpare + 1) x ` +
      'raftlog.segmentBytes + chunkstore.dirtyBytesMax, or a disk that runs full stands still',
  })
}
