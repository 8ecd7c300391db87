import { describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import type { Env } from '../env/env.ts'
import { EventQueue, type SimEvent } from './event-queue.ts'
import { SimHost } from './host.ts'
import { SimNetwork } from './network.ts'
import { SimFailure, World } from './world.ts'

function lone(world: World, timerSlackUsMax = 0): SimHost {
  const network = new SimNetwork(world)
  const host = new SimHost(world, {
    name: 'h1',
    network,
    timerSlackUsMax,
  })
  network.add(host)
  return host
}

describe('event queue', () => {
  it('gives events by time, then by order of scheduling, without the cancelled ones', () => {
    const random = new Prng(7)
    const queue = new EventQueue()
    const kept: SimEvent[] = []
    const all: SimEvent[] = []
    for (let sequence = 0; sequence < 20_000; sequence++) {
      const event: SimEvent = {
        atUs: random.below(500),
        sequence,
        label: '',
        actor: null,
        generation: 0,
        fire: () => {},
        state: 'waiting',
      }
      queue.push(event)
      all.push(event)
    }
    for (const event of all) {
      if (random.chance(0.7)) queue.cancel(event)
      else kept.push(event)
    }
    expect(queue.count).toBe(kept.length)
    kept.sort((a, b) => a.atUs - b.atUs || a.sequence - b.sequence)
    for (const event of kept) {
      expect(queue.nextAtUs()).toBe(event.atUs)
      const popped = queue.pop()
      expect(popped).toBe(event)
      if (popped !== undefined) popped.state = 'done'
    }
    expect(queue.pop()).toBeUndefined()
    expect(queue.nextAtUs()).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('world', () => {
  it('runs events in virtual time, and lets every promise settle in between', async () => {
    const world = new World({ seed: 1 })
    const seen: string[] = []
    const chain = async (): Promise<void> => {
      for (let i = 0; i < 5000; i++) await Promise.resolve()
      seen.push(`chain at ${world.nowUs}`)
    }
    world.after(20, 'b', () => seen.push('b'))
    world.after(10, 'a', () => {
      void chain()
    })
    world.after(20, 'c', () => seen.push('c'))
    await world.run()
    expect(seen).toEqual(['chain at 10', 'b', 'c'])
    expect(world.nowUs).toBe(20)
  })

  it('stops at a time, by a condition, and at too many events', async () => {
    const world = new World({ seed: 1 })
    let count = 0
    const again = (): void => {
      count++
      world.after(100, 'again', again)
    }
    again()
    await world.run({ untilUs: 1000 })
    expect(count).toBe(11)
    expect(world.nowUs).toBe(1000)
    await world.run({ until: () => count === 20 })
    expect(count).toBe(20)
    await expect(world.run({ eventsMax: 5 })).rejects.toThrow('something spins')
  })

  it('ends with the trace when an event throws or a promise is rejected unheard', async () => {
    const thrown = new World({ seed: 81 })
    thrown.after(1000, 'harmless', () => {})
    thrown.after(2000, 'bad', () => {
      throw new RangeError('boom')
    })
    const failure = await thrown.run().then(
      () => null,
      (error: unknown) => error as SimFailure,
    )
    expect(failure).toBeInstanceOf(SimFailure)
    expect(failure?.message).toBe('seed 81 at 0.002000 s: bad: RangeError: boom')
    expect(failure?.trace.at(-1)).toContain('bad')

    const rejected = new World({ seed: 82 })
    rejected.after(5, 'bad', () => {
      void (async () => {
        await Promise.resolve()
        throw new Error('late boom')
      })()
    })
    await expect(rejected.run()).rejects.toThrow('unhandled rejection: Error: late boom')
  })

  it('ends when a watcher throws, after the event at fault', async () => {
    const world = new World({ seed: 1 })
    let value = 0
    world.watch(() => {
      if (value > 1) throw new Error('value above 1')
    })
    for (let i = 1; i <= 3; i++) world.after(i, 'add', () => value++)
    await expect(world.run()).rejects.toThrow('value above 1')
    expect(value).toBe(2)
  })

  it('fails when what it waits for is found wrong, with who found it as the cause', async () => {
    const asked = new World({ seed: 1 })
    const until = (): boolean => {
      throw new Error('never to be')
    }
    const failure = await asked.run({ until }).then(
      () => null,
      (error: unknown) => error as SimFailure,
    )
    expect(failure).toBeInstanceOf(SimFailure)
    expect(failure?.cause).toEqual(new Error('never to be'))
  })

  it('settles a promise by virtual time, and fails when nothing can', async () => {
    const world = new World({ seed: 1 })
    const later = new Promise<number>((resolve) => {
      world.after(5_000_000, 'later', () => resolve(7))
    })
    expect(await world.settle(later)).toBe(7)
    expect(world.nowUs).toBe(5_000_000)
    await expect(world.settle(new Promise(() => {}))).rejects.toThrow('never settled')
  })

  it('has the same hash for the same seed and another for another', async () => {
    const run = async (seed: number): Promise<string> => {
      const world = new World({ seed })
      let left = 100
      const hop = (): void => {
        if (left-- > 0) world.after(world.random.below(1000), 'hop', hop)
      }
      hop()
      await world.run()
      return world.trace.hash()
    }
    expect(await run(5)).toBe(await run(5))
    expect(await run(5)).not.toBe(await run(6))
    // Pinned: a change of the hash or of the generator makes every seed known so far another one.
    expect(await run(5)).toBe('6b6293ddd7df09b8')
  })
})

describe('host', () => {
  it('drops what a dead process had planned and starts anew', async () => {
    const world = new World({ seed: 1 })
    const host = lone(world)
    const seen: string[] = []
    let life = 0
    host.start((env) => {
      const mine = ++life
      env.clock.after(10, () => seen.push(`timer of ${mine}`))
      env.clock.after(30, () => seen.push(`late timer of ${mine}`))
    })
    world.after(20_000, 'crash', () => host.crash())
    world.after(25_000, 'start', () => host.start())
    await world.run()
    expect(seen).toEqual(['timer of 1', 'timer of 2', 'late timer of 2'])
  })

  it('delivers late, in order, what came due in a pause, while its clock went on', async () => {
    const world = new World({ seed: 1 })
    const host = lone(world)
    const seen: number[] = []
    let env: Env | null = null
    host.start((given) => {
      env = given
      const start = given.clock.monotonicMs()
      for (const ms of [10, 20, 40]) {
        const timer = given.clock.after(ms, () =>
          seen.push(Math.round(given.clock.monotonicMs() - start)),
        )
        if (ms === 20) given.clock.after(5, () => given.clock.after(30, () => timer.cancel()))
      }
    })
    world.after(8_000, 'pause', () => host.pause())
    world.after(30_000, 'resume', () => host.resume())
    await world.run()
    expect(env).not.toBeNull()
    expect(seen).toEqual([30, 30, 40])
  })

  it('forgets a cancelled timer, also one that waits in a pause', async () => {
    const world = new World({ seed: 1 })
    const host = lone(world)
    const seen: string[] = []
    let cancel = (): void => {}
    host.start((env) => {
      const timer = env.clock.after(10, () => seen.push('cancelled'))
      cancel = () => timer.cancel()
      env.clock.after(11, () => seen.push('kept'))
    })
    world.after(5_000, 'pause', () => host.pause())
    world.after(20_000, 'cancel', () => cancel())
    world.after(30_000, 'resume', () => host.resume())
    await world.run()
    expect(seen).toEqual(['kept'])
  })

  it('drifts and jumps, and its timers follow its own clock', async () => {
    const world = new World({ seed: 1 })
    const host = lone(world)
    let firedUs = 0
    let ranMs = 0
    let wallMs = 0
    host.start((env) => {
      const start = env.clock.monotonicMs()
      wallMs = env.clock.wallMs()
      env.clock.after(1000, () => {
        firedUs = world.nowUs
        ranMs = env.clock.monotonicMs() - start
        wallMs = env.clock.wallMs() - wallMs
      })
    })
    world.after(500_000, 'drift', () => host.setDrift(-500_000))
    world.after(600_000, 'jump', () => host.jumpWall(-3_600_000))
    await world.run()
    expect(firedUs).toBe(1_500_000)
    expect(ranMs).toBeGreaterThanOrEqual(1000)
    expect(ranMs).toBeLessThan(1000.01)
    expect(wallMs).toBe(1000 - 3_600_000)
  })

  it('runs soon() at the same instant, after what is queued', async () => {
    const world = new World({ seed: 1 })
    const host = lone(world)
    const seen: string[] = []
    host.start((env) => {
      env.clock.soon(() => seen.push(`second at ${world.nowUs}`))
      seen.push('first')
    })
    world.after(0, 'other', () => seen.push('other'))
    await world.run()
    expect(seen).toEqual(['first', 'other', 'second at 0'])
  })
})
