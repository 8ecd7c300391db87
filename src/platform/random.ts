// Owns randomness in production: the generator of base/, seeded from the system's entropy. It
// spreads load and breaks ties; it is not for secrets.

import { randomBytes } from 'node:crypto'
import { Prng } from '../base/prng.ts'
import type { Random } from '../env/random.ts'

export function nodeRandom(): Random {
  return new Prng(randomBytes(4).readUInt32LE(0))
}
