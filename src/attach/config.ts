// Owns the settings of the NBD server and the relations between them.

import {
  bytesSetting,
  type ConfigOf,
  countSetting,
  durationSetting,
  makeConfig,
  type Relation,
} from '../base/config.ts'
import { MIB } from '../base/units.ts'

/**
 * The payload that a server takes from any client, also from one that never asked for its limits
 * (section "Size constraints" of the NBD protocol).
 */
export const NBD_PAYLOAD_BYTES_MAX = 32 * MIB

export const NBD_CONFIG = {
  nbdHandshakeTimeoutMs: durationSetting(
    10_000,
    'A client that has not begun to use an export by then is sent away.',
  ),
  nbdLingerMs: durationSetting(
    5000,
    'How long a volume stays open after its last client left: tools connect several times in a row.',
  ),
  nbdCloseGraceMs: durationSetting(5000, 'How long a stop waits for requests in flight.'),
  nbdConnectionsMax: countSetting(256, 'Clients that are served; more are sent away at once.'),
  nbdConnectionInflightBytesMax: bytesSetting(
    64 * MIB,
    'Request and answer bytes of one client under way; past it nothing more is read from it.',
  ),
  nbdServerInflightBytesMax: bytesSetting(
    512 * MIB,
    'Request and answer bytes of all clients under way; past it nothing more is read.',
  ),
}

export type NbdConfig = ConfigOf<typeof NBD_CONFIG>

const RELATIONS: readonly Relation<NbdConfig>[] = [
  {
    holds: (c) => c.nbdConnectionInflightBytesMax > NBD_PAYLOAD_BYTES_MAX,
    says: 'nbdConnectionInflightBytesMax must be above 32MiB, the largest request',
  },
  {
    holds: (c) => c.nbdServerInflightBytesMax >= c.nbdConnectionInflightBytesMax,
    says: 'nbdServerInflightBytesMax must hold at least nbdConnectionInflightBytesMax',
  },
]

export function nbdConfig(replaced: Partial<NbdConfig> = {}): NbdConfig {
  return makeConfig(NBD_CONFIG, replaced, RELATIONS)
}
