// Owns the volume client for programs on Node, the package's `lemnis/client`: the public names of
// src/client, with a connect() that brings the real world along.

import { type ConnectOptions, connect as connectIn, type LemnisClient } from '../client/index.ts'
import { type Observer, SILENT } from '../observe/observe.ts'
import { nodeEnv } from '../platform/env.ts'

export {
  type BlockDevice,
  type ConnectOptions,
  type CreateOptions,
  type Extent,
  type LemnisClient,
  LemnisError,
  type OpenOptions,
  type RestoreOptions,
  type Volume,
  type VolumeStats,
  type Wait,
} from '../client/index.ts'

/** A client of the cluster behind `options.mds`. Contacts nobody before the first call. */
export function connect(options: ConnectOptions, observer: Observer = SILENT): LemnisClient {
  // The client has no files; its network and clock are the machine's.
  return connectIn(nodeEnv('/'), observer, options)
}
