// Owns the settings of the RPC, client and server alike, and the relations between them.

import {
  bytesSetting,
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
  textSetting,
} from '../base/config.ts'
import { GIB, MIB } from '../base/units.ts'

export const RPC_CONFIG = {
  clusterId: textSetting('', 'Only peers of this cluster are spoken to; empty speaks to all.'),
  connectTimeoutMs: durationSetting(
    3000,
    'A connection not made and greeted in this time is given up.',
  ),
  handshakeTimeoutMs: durationSetting(
    3000,
    'A server ends a connection that has not said hello by then.',
  ),
  backoffMinMs: durationSetting(
    50,
    'Pause before the first new attempt to connect; doubles each time.',
  ),
  backoffMaxMs: durationSetting(2000, 'Longest pause between attempts to connect.'),
  keepAliveIntervalMs: durationSetting(
    1000,
    'A connection on which nothing came this long gets a ping.',
  ),
  peerSilenceMs: durationSetting(4000, 'A peer from which nothing came this long is given up.'),
  partialFrameTimeoutMs: durationSetting(
    30_000,
    'A frame that is not whole after this ends its connection.',
  ),
  closeGraceMs: durationSetting(5000, 'How long a graceful close waits for calls in flight.'),
  bodyBytesMax: bytesSetting(MIB, 'Largest body taken in one frame.'),
  payloadBytesMax: bytesSetting(16 * MIB, 'Largest payload taken in one frame.'),
  connectionInflightBytesMax: bytesSetting(
    64 * MIB,
    'Request bytes of one connection taken in and not answered, and answers not yet sent.',
  ),
  serverInflightBytesMax: bytesSetting(
    GIB / 4,
    'Request bytes of all connections not yet answered.',
  ),
  overloadedHintMs: durationSetting(20, 'When a refused caller is told to come back.'),
  connectionsMax: countSetting(1024, 'Connections that a server holds; more are ended at once.'),
  clientCallsMax: countSetting(16_384, 'Calls of one client that wait for their answer.'),
  clientQueuedBytesMax: bytesSetting(64 * MIB, 'Bytes of one client not yet taken by the system.'),
}

export type RpcConfig = ConfigOf<typeof RPC_CONFIG>

const RELATIONS: readonly Relation<RpcConfig>[] = [
  {
    holds: (c) => c.peerSilenceMs >= 3 * c.keepAliveIntervalMs,
    says: 'peerSilenceMs must be at least three keepAliveIntervalMs, or a late pong ends it all',
  },
  {
    holds: (c) => c.backoffMinMs > 0 && c.backoffMinMs <= c.backoffMaxMs,
    says: 'backoffMinMs must be above 0 and not above backoffMaxMs',
  },
  {
    holds: (c) => 2 * (c.bodyBytesMax + c.payloadBytesMax) <= c.connectionInflightBytesMax,
    says: 'connectionInflightBytesMax must hold two of the largest frames',
  },
  {
    holds: (c) => c.connectionInflightBytesMax <= c.serverInflightBytesMax,
    says: 'serverInflightBytesMax must hold at least connectionInflightBytesMax',
  },
  {
    holds: (c) => 2 * (c.bodyBytesMax + c.payloadBytesMax) <= c.clientQueuedBytesMax,
    says: 'clientQueuedBytesMax must hold two of the largest frames',
  },
]

export function rpcConfig(replaced: Partial<RpcConfig> = {}): RpcConfig {
  return makeConfig(RPC_CONFIG, replaced, RELATIONS)
}
