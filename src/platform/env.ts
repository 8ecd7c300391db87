// Owns the making of the real world: what a composition root hands to everything below it.

import type { Env } from '../env/env.ts'
import { NodeClock } from './clock.ts'
import { nodeCrc32c } from './crc32c.ts'
import { NodeDisk } from './disk.ts'
import { NodeNetwork } from './network.ts'
import { nodeRandom } from './random.ts'

/** `root` is the directory below which all paths of the disk lie. */
export function nodeEnv(root: string): Env {
  return {
    clock: new NodeClock(),
    random: nodeRandom(),
    disk: new NodeDisk(root),
    network: new NodeNetwork(),
    crc32c: nodeCrc32c(),
  }
}
