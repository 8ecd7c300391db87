// Owns work that comes again and again: once in each interval, the first time after one, until it is
// cancelled. Work that throws ends it with the process, as any bug does.

import type { Clock, Timer } from './clock.ts'

export function every(clock: Clock, intervalMs: number, work: () => void): Timer {
  let isOver = false
  let timer: Timer
  const plan = (): void => {
    timer = clock.after(intervalMs, () => {
      work()
      if (!isOver) plan()
    })
  }
  plan()
  return {
    cancel: () => {
      isOver = true
      timer.cancel()
    },
  }
}
