import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type RangeLock, RangeLocks } from './range-locks.ts'

class Lock implements RangeLock {
  readonly name: string
  readonly from: number
  readonly to: number
  readonly #granted: (lock: Lock) => void

  constructor(name: string, from: number, to: number, granted: (lock: Lock) => void) {
    this.name = name
    this.from = from
    this.to = to
    this.#granted = granted
  }
  granted(): void {
    this.#granted(this)
  }
}

function overlap(a: RangeLock, b: RangeLock): boolean {
  return a.from < b.to && b.from < a.to
}

describe('range locks', () => {
  it('make what overlaps wait, in order, also behind one that waits', () => {
    const locks = new RangeLocks()
    const granted: string[] = []
    const lock = (name: string, from: number, to: number): Lock => {
      const made = new Lock(name, from, to, ({ name }) => granted.push(name))
      locks.lock(made)
      return made
    }
    const a = lock('a', 0, 4)
    const b = lock('b', 3, 8)
    lock('c', 6, 7)
    lock('d', 8, 9)
    expect(granted).toEqual(['a', 'd'])
    expect(locks.waitingCount).toBe(2)
    locks.unlock(a)
    expect(granted).toEqual(['a', 'd', 'b'])
    locks.unlock(b)
    expect(granted).toEqual(['a', 'd', 'b', 'c'])
    expect(locks.waitingCount).toBe(0)
  })

  it('never have two that overlap, and grant overlapping ones in the order of asking', () => {
    const steps = fc.array(
      fc.record({ from: fc.nat(20), blocks: fc.integer({ min: 1, max: 6 }), ends: fc.nat(3) }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(steps, (script) => {
        const locks = new RangeLocks()
        const held: Lock[] = []
        const asked: Lock[] = []
        const done = new Set<Lock>()
        const grant = (lock: Lock): void => {
          for (const other of held) expect(overlap(other, lock)).toBe(false)
          for (const other of asked) {
            if (other === lock) break
            if (overlap(other, lock)) expect(done.has(other)).toBe(true)
          }
          held.push(lock)
        }
        const end = (): void => {
          const lock = held.shift()
          if (lock === undefined) return
          done.add(lock)
          locks.unlock(lock)
        }
        for (const [i, { from, blocks, ends }] of script.entries()) {
          const lock = new Lock(String(i), from, from + blocks, grant)
          asked.push(lock)
          locks.lock(lock)
          for (let n = 0; n < ends; n++) end()
        }
        while (held.length > 0) end()
        expect(done.size).toBe(script.length)
      }),
    )
  })
})
