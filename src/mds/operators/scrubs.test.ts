import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { LIST_CHUNKSERVERS, START_SCRUB } from '../../format/control/mds.ts'
import {
  type ScrubWindow,
  SET_SCRUB_WINDOW,
  SHOW_SCRUB_WINDOW,
} from '../../format/control/operators.ts'
import { Fleet } from '../testing/fleet.ts'
import { isOpen } from './scrubs.ts'

const HOUR_MS = 3_600_000

function scrubsOf(fleet: Fleet): number[] {
  return fleet.chunkservers.map(
    ({ orders }) => orders.filter(({ kind }) => kind === 'scrub').length,
  )
}

/** One that is always open. */
function window(replaced: Partial<ScrubWindow>): ScrubWindow {
  return { periodMs: HOUR_MS, fromHour: 0, toHour: 0, chunkserversMax: 1, ...replaced }
}

describe('the hours of scrubs', () => {
  it.each([
    [0, 0, [0, 12, 23], []],
    [0, 6, [0, 5], [6, 23]],
    [22, 4, [22, 23, 0, 3], [4, 12, 21]],
    [20, 24, [20, 23], [0, 19]],
  ])('from %i to %i', (fromHour, toHour, open, shut) => {
    const wallMs = (hour: number): number => 20_000 * 24 * HOUR_MS + (hour + 0.5) * HOUR_MS
    for (const hour of open) expect(isOpen(window({ fromHour, toHour }), wallMs(hour))).toBe(true)
    for (const hour of shut) expect(isOpen(window({ fromHour, toHour }), wallMs(hour))).toBe(false)
  })
})

describe('scrubs by themselves', () => {
  it('reach each chunkserver once a period, one after the other', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    expect(await fleet.ask(SHOW_SCRUB_WINDOW, {})).toMatchObject({ periodMs: 168 * HOUR_MS })
    for (const chunkserver of fleet.chunkservers) chunkserver.scrubMs = 1000
    await fleet.ask(SET_SCRUB_WINDOW, window({ periodMs: 60_000 }))
    await fleet.run(1000)
    expect(scrubsOf(fleet)).toEqual([0, 0, 0])
    fleet.mdsHost.jumpWall(60_000)
    let most = 0
    for (let i = 0; i < 60; i++) {
      await fleet.run(100)
      const running = fleet.chunkservers.filter(({ isScrubbing }) => isScrubbing).length
      most = Math.max(most, running)
    }
    expect(most).toBe(1)
    expect(scrubsOf(fleet)).toEqual([1, 1, 1])
    fleet.mdsHost.jumpWall(60_000)
    await fleet.run(6000)
    expect(scrubsOf(fleet)).toEqual([2, 2, 2])
  })

  it('are not begun outside of their hours, nor again by processes that have forgotten', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const hour = Math.floor(fleet.wallMs() / HOUR_MS) % 24
    const shut = { fromHour: (hour + 2) % 24, toHour: (hour + 3) % 24 }
    await fleet.ask(SET_SCRUB_WINDOW, window({ ...shut, periodMs: 60_000 }))
    fleet.mdsHost.jumpWall(120_000)
    await fleet.run(2000)
    expect(scrubsOf(fleet)).toEqual([0, 0, 0])
    await fleet.ask(SET_SCRUB_WINDOW, window({ chunkserversMax: 3, periodMs: 60_000 }))
    await fleet.run(2000)
    expect(scrubsOf(fleet)).toEqual([1, 1, 1])
    const one = must(fleet.chunkservers[0], 'a chunkserver')
    one.host.crash()
    one.scrubStartedMs = 0
    one.start()
    await fleet.ask(SET_SCRUB_WINDOW, window({ periodMs: 0 }))
    fleet.crashMds()
    fleet.startMds()
    await fleet.run(3000)
    expect(scrubsOf(fleet)).toEqual([1, 1, 1])
  })

  it('that somebody asks for are told until they have ended', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const asked = async (): Promise<(boolean | undefined)[]> =>
      (await fleet.ask(LIST_CHUNKSERVERS, {})).chunkservers.map(({ scrubAsked }) => scrubAsked)
    expect(await asked()).toEqual([undefined, undefined, undefined])
    for (const chunkserver of fleet.chunkservers) chunkserver.scrubMs = 1000
    await fleet.ask(START_SCRUB, {})
    expect(await asked()).toEqual([true, true, true])
    await fleet.run(500)
    expect(fleet.chunkservers.map(({ isScrubbing }) => isScrubbing)).toEqual([true, true, true])
    expect(await asked()).toEqual([true, true, true])
    await fleet.run(2000)
    expect(await asked()).toEqual([undefined, undefined, undefined])
  })
})
