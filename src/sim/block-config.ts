// Owns the settings of the simulated block cluster: sizes so small and times so short and varied that a
// run of seconds meets checkpoints, write-backs, transfers, moves, lost leases and emptied trash.

import type { Prng } from '../base/prng.ts'
import { KIB, MIB } from '../base/units.ts'
import { type ChunkserverConfig, chunkserverConfig } from '../chunkserver/config.ts'
import {
  type ChunkStoreBug,
  type ChunkStoreConfig,
  type ChunkStoreSettings,
  chunkStoreConfig,
} from '../chunkstore/config.ts'
import type { ClientConfig } from '../client/config.ts'
import { type HostConfig, hostConfig } from '../copyset/config.ts'
import { type MdsConfig, mdsConfig } from '../mds/config.ts'
import { type RaftLogConfig, type RaftLogSettings, raftLogConfig } from '../raftlog/config.ts'

export interface BlockConfig {
  readonly chunkserver: ChunkserverConfig
  readonly host: HostConfig
  readonly store: ChunkStoreConfig
  readonly log: RaftLogConfig
  readonly mds: MdsConfig
  readonly client: Partial<ClientConfig>
}

/** Takes the place of what the seed would draw. */
export interface BlockConfigReplaced {
  readonly chunkserver?: Partial<ChunkserverConfig>
  readonly host?: Partial<HostConfig>
  readonly store?: Partial<ChunkStoreSettings>
  readonly log?: Partial<RaftLogSettings>
  readonly mds?: Partial<MdsConfig>
}

/** Longer than any run: only an order empties the trash then, whatever becomes of the date. */
const NO_EXPIRY_MS = 10_000_000_000

export function drawBlockConfig(
  random: Prng,
  replaced: BlockConfigReplaced = {},
  storeBugs?: ReadonlySet<ChunkStoreBug>,
): BlockConfig {
  return {
    chunkserver: chunkserverConfig({
      registerRetryMs: 200,
      heartbeatIntervalMs: 300,
      mdsTimeoutMs: 1000,
      peerTimeoutMs: 800,
      repairRetryMs: 100,
      mendRetryMs: 5000,
      scrubRetryMs: 200,
      scrubPageChunks: random.pick([1, 4]),
      upkeepIntervalMs: 500,
      checkpointAgeMs: random.pick([1000, 10_000]),
      handOverMs: 200,
      ...replaced.chunkserver,
    }),
    host: drawHost(random, replaced.host),
    store: drawStore(random, replaced.store, storeBugs),
    log: raftLogConfig({
      segmentBytes: 256 * KIB,
      batchBytesMax: 128 * KIB,
      entryBytesMax: 64 * KIB,
      queuedBytesMax: 256 * KIB,
      cacheBytes: random.pick([32 * KIB, 256 * KIB]),
      readBackBytes: 128 * KIB,
      segmentsPinned: 3,
      segmentsHeld: 2,
      ...replaced.log,
    }),
    mds: drawMds(random, replaced.mds),
    client: drawClient(random),
  }
}

function drawHost(random: Prng, replaced: Partial<HostConfig> = {}): HostConfig {
  return hostConfig({
    hibernateAfterMs: random.pick([0, 2000, 3000]),
    appendBytesMax: random.pick([8 * KIB, 64 * KIB]),
    inflightBytesMax: random.pick([64 * KIB, 256 * KIB]),
    inflightMessagesMax: random.pick([2, 16]),
    uncommittedBytesMax: 256 * KIB,
    committedBytesMax: random.pick([8 * KIB, 128 * KIB]),
    proposalBytesMax: 512 * KIB,
    entryBytesMax: 60 * KIB,
    checkpointBytes: random.pick([16 * KIB, 64 * KIB, 512 * KIB]),
    transferPieceBytes: random.pick([8 * KIB, 64 * KIB]),
    transferBytesPerSecond: random.pick([128 * KIB, 8 * MIB]),
    transferTimeoutMs: 2000,
    catchUpLagEntries: random.pick([0, 10, 100]),
    changeTimeoutMs: 10_000,
    ...replaced,
  })
}

function drawStore(
  random: Prng,
  replaced: Partial<ChunkStoreSettings> = {},
  bugs?: ReadonlySet<ChunkStoreBug>,
): ChunkStoreConfig {
  return chunkStoreConfig(
    {
      capacityBytes: 256 * MIB,
      reserveBytes: 64 * KIB,
      dirtyBytesSoft: random.pick([16 * KIB, 128 * KIB]),
      dirtyBytesMax: 512 * KIB,
      dirtyAgeMs: random.pick([20, 500, 5000]),
      writeBackBytes: random.pick([8 * KIB, 64 * KIB]),
      openFilesMax: random.pick([8, 64]),
      tableCacheBytes: random.pick([16 * KIB, 1024 * KIB]),
      poolFilesMax: random.pick([0, 4]),
      dropAfterMs: 500,
      trashAfterMs: 2000,
      mergeBytesPerSecond: random.pick([64 * KIB, 4 * MIB]),
      spaceRetryMs: 200,
      ...replaced,
    },
    bugs,
  )
}

function drawMds(random: Prng, replaced: Partial<MdsConfig> = {}): MdsConfig {
  return mdsConfig({
    leaseMs: random.pick([600, 1500]),
    leaseMarginMs: 300,
    trashExpiryMs: random.pick([2000, NO_EXPIRY_MS, NO_EXPIRY_MS]),
    cleanIntervalMs: 1000,
    chunkCallTimeoutMs: 1000,
    heartbeatIntervalMs: 300,
    onlineMs: 1000,
    offlineMs: random.pick([1500, 3000, 6000]),
    scheduleIntervalMs: 300,
    movesMax: 8,
    movesPerChunkserverMax: 4,
    // One chunkserver is a whole server here, and most zones have one server.
    zoneGuardServersMin: 2,
    awayPercentMax: random.pick([30, 60, 60]),
    operatorTimeoutMs: 8000,
    operatorRetryMs: 1000,
    orderTimeoutMs: 1000,
    removeTimeoutMs: 4000,
    leadTimeoutMs: random.pick([500, 3000]),
    balanceIntervalMs: random.pick([600, 3000]),
    leaderUpMinMs: random.pick([500, 5000]),
    slowFloorMs: 5,
    slowSeconds: 2,
    slowRecoverMs: 1500,
    slowDrainMs: random.pick([3000, 10_000_000]),
    diskErrorsForgetMs: 3000,
    leaderLeaseMs: random.pick([1000, 2500]),
    leaderMarginMs: 60,
    leaderKeepAliveMs: 300,
    ...replaced,
  })
}

function drawClient(random: Prng): Partial<ClientConfig> {
  return {
    requestTimeoutMs: random.pick([300, 1000]),
    requestTimeoutMaxMs: 2000,
    relocateMs: 500,
    mdsTimeoutMs: 800,
    mdsPatienceMs: 2000,
    absentSegmentMs: ABSENT_SEGMENT_MS,
    backoffMaxMs: 1000,
    mdsPauseMaxMs: 500,
    closeGraceMs: 1000,
    // Then an opening that returns has fenced every copyset, and not most of them.
    fenceWaitMs: 1_000_000,
  }
}

/** For so long a reader may take a segment for unwritten that has been allocated. */
export const ABSENT_SEGMENT_MS = 300
