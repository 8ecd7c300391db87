// Owns the settings of the volume client and the relations between them. Times of retries follow what
// Curve's client has been running with (conf/client.conf); where they differ the reason stands there.

import {
  bytesSetting,
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { MIB } from '../base/units.ts'

export const CLIENT_CONFIG = {
  requestTimeoutMs: durationSetting(1000, 'A chunk request not answered in this time is repeated.'),
  requestTimeoutMaxMs: durationSetting(8000, 'Time-outs of one request double up to this.'),
  leaderRetries: countSetting(
    5,
    'Time-outs in a row that do not double while the leader may have changed.',
  ),
  retryPauseMs: durationSetting(100, 'Pause before a request that met an error is repeated.'),
  backoffMinMs: durationSetting(
    100,
    'First pause after OVERLOADED or NO_SPACE; doubles each time.',
  ),
  backoffMaxMs: durationSetting(8000, 'Longest pause after OVERLOADED or NO_SPACE.'),
  leaderAskMs: durationSetting(500, 'How long members are asked who leads their copyset.'),
  leaderPollMinMs: durationSetting(50, 'Shortest pause between two rounds of asking for a leader.'),
  leaderPollMaxMs: durationSetting(100, 'Longest pause between two rounds of asking for a leader.'),
  relocateMs: durationSetting(
    1000,
    'A copyset without a leader this long is looked up at the MDS again.',
  ),
  unstableTimeouts: countSetting(
    10,
    'Time-outs in a row after which a chunkserver counts as unstable.',
  ),
  mdsTimeoutMs: durationSetting(2000, 'How long one MDS is asked before the next one is.'),
  mdsPatienceMs: durationSetting(8000, 'How long a command to the MDS is tried before it fails.'),
  mdsPauseMinMs: durationSetting(100, 'First pause after all MDS were asked in vain; doubles.'),
  mdsPauseMaxMs: durationSetting(2000, 'Longest pause after all MDS were asked in vain.'),
  absentSegmentMs: durationSetting(
    1000,
    'How long a reader believes that a segment is not allocated.',
  ),
  segmentsPerCallMax: countSetting(256, 'Segments asked for in one call.'),
  inflightOpsMax: countSetting(256, 'Operations of one volume under way; further ones wait.'),
  inflightBytesMax: bytesSetting(32 * MIB, 'Bytes of one volume under way; further ones wait.'),
  waitingOpsMax: countSetting(16_384, 'Operations that wait; more are refused as OVERLOADED.'),
  requestsPerOpMax: countSetting(16, 'Chunk requests of one operation under way at once.'),
  qosBurstMs: durationSetting(1000, 'Unused I/Os and bytes of a limit are saved up for this long.'),
  fencesAtOnceMax: countSetting(32, 'Copysets told of a new write epoch at once.'),
  fenceWaitMs: durationSetting(5000, 'How long opening waits for copysets to hear of the epoch.'),
  closeGraceMs: durationSetting(10_000, 'How long closing waits for what is under way.'),
}

export type ClientConfig = ConfigOf<typeof CLIENT_CONFIG>

const RELATIONS: readonly Relation<ClientConfig>[] = [
  {
    holds: (c) => c.requestTimeoutMs > 0 && c.requestTimeoutMs <= c.requestTimeoutMaxMs,
    says: 'requestTimeoutMs must be above 0 and not above requestTimeoutMaxMs',
  },
  {
    holds: (c) => c.backoffMinMs > 0 && c.backoffMinMs <= c.backoffMaxMs,
    says: 'backoffMinMs must be above 0 and not above backoffMaxMs',
  },
  {
    holds: (c) => c.leaderPollMinMs > 0 && c.leaderPollMinMs <= c.leaderPollMaxMs,
    says: 'leaderPollMinMs must be above 0 and not above leaderPollMaxMs',
  },
  {
    holds: (c) => c.mdsPauseMinMs > 0 && c.mdsPauseMinMs <= c.mdsPauseMaxMs,
    says: 'mdsPauseMinMs must be above 0 and not above mdsPauseMaxMs',
  },
  {
    holds: (c) => c.segmentsPerCallMax >= 1 && c.segmentsPerCallMax <= 1024,
    says: 'segmentsPerCallMax must be from 1 to 1024, or the answer does not fit one frame',
  },
  {
    holds: (c) => c.inflightOpsMax >= 1 && c.requestsPerOpMax >= 1 && c.fencesAtOnceMax >= 1,
    says: 'inflightOpsMax, requestsPerOpMax and fencesAtOnceMax must be at least 1',
  },
  {
    holds: (c) => c.inflightBytesMax >= MIB,
    says: 'inflightBytesMax must hold one request of 1 MiB',
  },
]

export function clientConfig(replaced: Partial<ClientConfig> = {}): ClientConfig {
  return makeConfig(CLIENT_CONFIG, replaced, RELATIONS)
}
