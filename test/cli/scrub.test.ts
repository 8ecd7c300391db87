import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIST_CHUNKSERVERS } from '../../src/format/control/mds.ts'
import {
  type ScrubWindow,
  SET_SCRUB_WINDOW,
  SHOW_SCRUB_WINDOW,
} from '../../src/format/control/operators.ts'
import { NO_SCRUB } from '../../src/format/control/parts.ts'
import { serveControl } from '../../src/rpc/control.ts'
import { aChunkserver, CliWorld } from './cli-world.ts'

const WEEK_MS = 7 * 24 * 3_600_000

let world: CliWorld
beforeEach(async () => {
  world = await CliWorld.start()
})
afterEach(() => world.close())

describe('lemnis scrub window', () => {
  const usual: ScrubWindow = { periodMs: WEEK_MS, fromHour: 0, toHour: 0, chunkserversMax: 4 }

  function serveWindow(): ScrubWindow[] {
    const set: ScrubWindow[] = []
    serveControl(world.server, SHOW_SCRUB_WINDOW, () => set.at(-1) ?? usual)
    serveControl(world.server, SET_SCRUB_WINDOW, (window) => {
      set.push(window)
      return window
    })
    return set
  }

  it('shows it, with and without the word', async () => {
    serveWindow()
    const says =
      'Each disk is scrubbed once in 7 d, 4 chunkservers at once at most; they begin at any hour.\n'
    expect(await world.lemnis('scrub', 'window')).toBe(0)
    expect(world.out).toBe(says)
    expect(await world.lemnis('scrub', 'window', 'show')).toBe(0)
    expect(world.out).toBe(says)
    expect(await world.lemnis('scrub', 'window', '--json')).toBe(0)
    expect(JSON.parse(world.out)).toEqual(usual)
  })

  it('changes what is named and leaves the rest', async () => {
    const set = serveWindow()
    const hours = ['--from', '22:00', '--to', '6']
    expect(await world.lemnis('scrub', 'window', 'set', ...hours)).toBe(0)
    expect(set.at(-1)).toEqual({ ...usual, fromHour: 22, toHour: 6 })
    expect(world.out).toContain('they begin from 22:00 to 06:00 UTC.')
    expect(await world.lemnis('scrub', 'window', 'set', '--at-once', '1', '--every', '14d')).toBe(0)
    expect(set.at(-1)).toEqual({
      periodMs: 2 * WEEK_MS,
      fromHour: 22,
      toHour: 6,
      chunkserversMax: 1,
    })
    expect(await world.lemnis('scrub', 'window', 'set', '--every', '0h')).toBe(0)
    expect(world.out).toContain('lemnis scrub start')
  })

  it('says what it takes', async () => {
    const set = serveWindow()
    for (const hour of ['25', '6:30', 'noon']) {
      expect(await world.lemnis('scrub', 'window', 'set', '--from', hour)).toBe(2)
      expect(world.err).toContain('a whole hour of the day in UTC, such as 22:00')
    }
    expect(await world.lemnis('scrub', 'window', 'set')).toBe(1)
    expect(world.err).toContain('--at-once')
    expect(set).toEqual([])
  })
})

describe('lemnis scrub status --watch', () => {
  it('goes on for those that were told and have not begun, but not for those that are away', async () => {
    let looks = 0
    serveControl(world.server, LIST_CHUNKSERVERS, () => {
      looks++
      const done = { ...NO_SCRUB, startedMs: 5, finishedMs: 6 }
      const one =
        looks === 1 ? aChunkserver(1, { scrubAsked: true }) : aChunkserver(1, { scrub: done })
      const away = aChunkserver(2, { scrubAsked: true, state: 'offline' })
      return { chunkservers: [one, away, aChunkserver(3, { state: 'retired', scrubAsked: true })] }
    })
    expect(await world.lemnis('scrub', 'status', '--watch')).toBe(0)
    expect(looks).toBe(2)
    const lines = world.out.split('\n')
    expect(lines[1]).toMatch(/^ *1 +about to begin /)
    expect(lines[2]).toMatch(/^ *2 +waits, offline /)
    expect(world.out).toMatch(/^ *1 +idle /m)
    expect(world.out).not.toMatch(/^ *3 /m)
  })
})
