// Owns the small world in which a part that needs no more than a disk is tested: a simulated disk, a clock
// that jumps to what is next, and an Env over both without a network. Invariant: all that happens follows
// from the seed.

import { crc32cPure } from '../base/crc32c.ts'
import { Prng } from '../base/prng.ts'
import type { Disk } from '../env/disk.ts'
import type { Env } from '../env/env.ts'
import { SimDisk } from './disk.ts'
import { InstantClock } from './disk-clock.ts'

export interface Rig {
  readonly env: Env
  readonly disk: SimDisk
  readonly clock: InstantClock
}

export function makeRig(seed = 1): Rig {
  const clock = new InstantClock()
  return rigOf(new SimDisk(clock, new Prng(seed)), clock, seed)
}

export function rigOf(disk: SimDisk, clock: InstantClock, seed = 1): Rig {
  return { disk, clock, env: envOver(disk, clock, seed) }
}

export function envOver(disk: Disk, clock: InstantClock, seed = 1): Env {
  const network = {
    listen: () => Promise.reject(new Error('no network here')),
    connect: () => {
      throw new Error('no network here')
    },
  }
  return { clock, disk, network, random: new Prng(seed), crc32c: crc32cPure }
}

/** Lets what is under way go on for some turns. */
export async function turns(count: number): Promise<void> {
  const clock = new InstantClock()
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => clock.after(0, resolve))
}
