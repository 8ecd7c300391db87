// The world as everything from L0 to L5 sees it: platform/ implements it with Node, sim/ with a seed.

import type { Crc32c } from '../base/crc32c.ts'
import type { Clock } from './clock.ts'
import type { Disk } from './disk.ts'
import type { Network } from './network.ts'
import type { Random } from './random.ts'

export interface Env {
  readonly clock: Clock
  readonly random: Random
  readonly disk: Disk
  readonly network: Network
  readonly crc32c: Crc32c
}
