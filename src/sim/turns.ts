// Owns how the simulator lets promises run dry between two events. A tick queued from a microtask
// runs when the microtask queue is empty, however long its chains are (Node's documented order), so
// "microtask, then tick" is a full drain; it costs about a tenth of an immediate (measured: 0.1 µs
// against 1.0 µs). Node reports unhandled rejections only when no tick waits, so every
// TURNS_PER_IMMEDIATE turns one goes through an immediate; the count is fixed, hence deterministic.

import process from 'node:process'
import { assert } from '../base/assert.ts'

const TURNS_PER_IMMEDIATE = 64

/** 'again' goes on with the next turn, 'stop' ends the loop. */
export type Turn = () => 'again' | 'stop'

let running = false

/**
 * Calls `turn` until it says stop, with all promises settled in between. A promise that is rejected
 * and handled by nobody ends the loop: `rejected` is told the reason. One loop at a time in a
 * process, because such rejections cannot be told apart.
 */
export function runTurns(turn: Turn, rejected: (reason: unknown) => void): Promise<void> {
  assert(!running, 'two simulated worlds run at once')
  running = true
  const others = process.listeners('unhandledRejection')
  let failed = false
  const onRejection = (reason: unknown): void => {
    failed = true
    rejected(reason)
  }
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', onRejection)
  return new Promise<void>((resolve, reject) => {
    let turnCount = 0
    const finish = (error?: unknown): void => {
      process.removeListener('unhandledRejection', onRejection)
      for (const other of others) process.on('unhandledRejection', other)
      running = false
      if (error === undefined) resolve()
      else reject(error)
    }
    const requeue = (): void => process.nextTick(step)
    const step = (): void => {
      if (failed) return finish()
      let next: 'again' | 'stop'
      try {
        next = turn()
      } catch (error) {
        return finish(error)
      }
      if (next === 'stop') {
        // Two immediates: rejections of the last turns are reported before the loop is left.
        setImmediate(() => setImmediate(() => finish()))
      } else if (++turnCount % TURNS_PER_IMMEDIATE === 0) setImmediate(step)
      else queueMicrotask(requeue)
    }
    setImmediate(step)
  })
}
