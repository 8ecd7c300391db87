import { describe, expect, it } from 'vitest'
import { crc32cPure } from '../base/crc32c.ts'
import { SimHost } from '../sim/host.ts'
import { SimNetwork } from '../sim/network.ts'
import { World } from '../sim/world.ts'
import type { Clock } from './clock.ts'
import { every } from './every.ts'

/** Runs `main` on a host for so long. */
async function during(ms: number, main: (clock: Clock) => void): Promise<void> {
  const world = new World({ seed: 1, crc32c: crc32cPure })
  const host = new SimHost(world, { name: 'a', network: new SimNetwork(world) })
  host.start(({ clock }) => main(clock))
  await world.run({ untilUs: world.nowUs + ms * 1000 })
}

describe('what is done every so often', () => {
  it('is done once in each interval until it is cancelled', async () => {
    const times: number[] = []
    await during(70, (clock) => {
      const startMs = clock.monotonicMs()
      const timer = every(clock, 10, () => times.push(Math.round(clock.monotonicMs() - startMs)))
      clock.after(35, () => timer.cancel())
    })
    expect(times).toEqual([10, 20, 30])
  })

  it('may cancel itself', async () => {
    let times = 0
    await during(50, (clock) => {
      const timer = every(clock, 10, () => {
        times++
        timer.cancel()
      })
    })
    expect(times).toBe(1)
  })
})
