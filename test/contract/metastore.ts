// Owns what every MetaStore must do, run on the embedded one, on etcd and on the simulated one alike. What
// a crash takes is tested with the simulator (src/sim/metastore.test.ts), by kill -9 of a process
// (src/platform/lmdb-kill.test.ts) and of members of etcd (src/platform/etcd-faults.test.ts).

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  META_CHANGES_MAX,
  META_KEY_BYTES_MAX,
  META_VALUE_LENGTH_MAX,
  type MetaChange,
  type MetaChanged,
  type MetaCondition,
  type MetaItem,
  type MetaLease,
  type MetaStore,
  type MetaWatch,
} from '../../src/env/metastore.ts'
import { codeOf } from '../code-of.ts'

export interface MetaStoreUnderTest {
  readonly store: MetaStore
  /** Lets the world go on until `promise` is done. */
  settle<T>(promise: Promise<T>): Promise<T>
  pause(ms: number): Promise<void>
  /** The same data as a new process finds it, after close(). */
  reopen(): Promise<MetaStore>
  end(): Promise<void>
}

const put = (key: string, value: string): MetaChange => ({ kind: 'put', key, value })
const remove = (key: string): MetaChange => ({ kind: 'remove', key })
const absent = (key: string): MetaCondition => ({ kind: 'absent', key })
const at = (key: string, revision: number): MetaCondition => ({ kind: 'revision', key, revision })

const created = (key: string, revision: number): MetaCondition => ({
  kind: 'created',
  key,
  revision,
})

/** What a watch was told, and from it what is there: as it must be after any failure. */
export class Mirror {
  readonly items = new Map<string, MetaItem>()
  readonly told: { readonly changes: readonly MetaChanged[]; readonly revision: number }[] = []
  readonly starts: number[] = []
  readonly #waiting = new Set<() => void>()
  readonly #watch: MetaWatch

  constructor(store: MetaStore, from: string, to: string) {
    this.#watch = store.watch(from, to, {
      onStarted: (revision) => {
        this.starts.push(revision)
        this.#look()
      },
      onChanges: (changes, revision) => {
        this.told.push({ changes, revision })
        for (const change of changes) this.#apply(change)
        this.#look()
      },
    })
  }

  /** Resolves when `holds` does. */
  until(holds: (mirror: Mirror) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!holds(this)) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** Resolves when it has heard of all up to this commit. */
  reached(revision: number): Promise<void> {
    return this.until(
      ({ told, starts }) =>
        (told.at(-1)?.revision ?? 0) >= revision || (starts.at(-1) ?? 0) >= revision,
    )
  }

  close(): void {
    this.#watch.close()
  }

  #apply(change: MetaChanged): void {
    if (change.kind === 'put') this.items.set(change.item.key, change.item)
    else this.items.delete(change.key)
  }

  #look(): void {
    for (const look of [...this.#waiting]) look()
  }
}

export function describeMetaStore(name: string, make: () => Promise<MetaStoreUnderTest>): void {
  describe(`metadata store contract: ${name}`, () => {
    let world: MetaStoreUnderTest
    let store: MetaStore

    beforeEach(async () => {
      world = await make()
      store = world.store
    })
    afterEach(() => world.end())

    const commit = (conditions: MetaCondition[], changes: MetaChange[]): Promise<number | null> =>
      world.settle(store.commit(conditions, changes))
    const valueOf = async (key: string): Promise<string | null> =>
      (await world.settle(store.get(key)))?.value ?? null
    const keys = async (from: string, to: string, limit = 100): Promise<string[]> =>
      (await world.settle(store.range(from, to, limit))).map((item) => item.key)

    it('keeps any text under any printable key, and nothing under others', async () => {
      const texts = ['', 'x', '\0\n\u0001', 'grün 水 🜁', '"\\', 'y'.repeat(70_000)]
      const names = ['!', '~', 'a/b', 'a'.repeat(META_KEY_BYTES_MAX), 'A', '"quoted"']
      await commit(
        [],
        names.map((key, i) => put(key, texts[i] as string)),
      )
      for (const [i, key] of names.entries()) expect(await valueOf(key)).toBe(texts[i])
      expect(await valueOf('b')).toBeNull()
    })

    it('gives every change of a commit one revision, which grows', async () => {
      const first = await commit([], [put('a', '1'), put('b', '1')])
      const second = await commit([], [put('a', '2')])
      expect(second).toBeGreaterThan(first as number)
      expect((await world.settle(store.get('a')))?.revision).toBe(second)
      expect((await world.settle(store.get('b')))?.revision).toBe(first)
    })

    it('gives an item that was removed and made again a new revision', async () => {
      const first = (await commit([], [put('a', '1')])) as number
      await commit([], [remove('a'), remove('never-there')])
      expect(await valueOf('a')).toBeNull()
      await commit([], [put('a', '1')])
      expect(await commit([at('a', first)], [put('a', '2')])).toBeNull()
    })

    it('knows the commit that made an item, whatever was put there since', async () => {
      const first = (await commit([], [put('a', '1')])) as number
      const second = (await commit([created('a', first)], [put('a', '2')])) as number
      const item = { key: 'a', value: '2', revision: second, createdRevision: first }
      expect(await world.settle(store.get('a'))).toEqual(item)
      expect(await world.settle(store.range('a', 'b', 1))).toEqual([item])
      expect(await commit([created('a', second)], [put('b', '1')])).toBeNull()
      await commit([], [remove('a')])
      expect(await commit([created('a', first)], [put('b', '1')])).toBeNull()
      const third = (await commit([], [put('a', '3')])) as number
      expect(await commit([created('a', first)], [put('b', '1')])).toBeNull()
      expect(await commit([created('a', third)], [put('b', '1')])).toBe(third + 1)
    })

    it('changes all or nothing, as the conditions say', async () => {
      const revision = (await commit([absent('a')], [put('a', '1')])) as number
      expect(await commit([absent('a')], [put('b', '1')])).toBeNull()
      expect(await commit([at('b', revision)], [put('b', '1')])).toBeNull()
      expect(await commit([at('a', revision + 1)], [put('b', '1')])).toBeNull()
      expect(await commit([at('a', revision), absent('a')], [put('b', '1')])).toBeNull()
      expect(await keys('a', 'z')).toEqual(['a'])
      expect(await commit([at('a', revision), absent('b')], [remove('a'), put('b', '1')])).toBe(
        revision + 1,
      )
      expect(await keys('a', 'z')).toEqual(['b'])
    })

    it('ranges over keys in ascending order, the end left out', async () => {
      const names = ['b', 'a', 'a/2', 'a/10', 'a0', 'B', 'a!', 'a~']
      await commit(
        [],
        names.map((key) => put(key, key)),
      )
      expect(await keys('a', 'b')).toEqual(['a', 'a!', 'a/10', 'a/2', 'a0', 'a~'])
      expect(await keys('a', 'b', 2)).toEqual(['a', 'a!'])
      expect(await keys('', '\x7f')).toEqual([...names].sort())
      expect(await keys('a/', 'a/\x7f')).toEqual(['a/10', 'a/2'])
      expect(await keys('b', 'a')).toEqual([])
      expect(await keys('a', 'a')).toEqual([])
      expect(await keys('a', 'b', 0)).toEqual([])
    })

    it('takes effect in the order of the calls, also of many at once', async () => {
      const asked = Array.from({ length: 50 }, (_, i) =>
        store.commit([], [put('last', String(i)), put(`k${i}`, '')]),
      )
      const revisions = await world.settle(Promise.all(asked))
      expect(revisions).toEqual(Array.from({ length: 50 }, (_, i) => (revisions[0] as number) + i))
      expect(await valueOf('last')).toBe('49')
      const racing = await world.settle(
        Promise.all(['x', 'y', 'z'].map((v) => store.commit([absent('one')], [put('one', v)]))),
      )
      expect(racing.map((revision) => revision !== null)).toEqual([true, false, false])
      expect(await valueOf('one')).toBe('x')
    })

    it('refuses what no store accepts, and changes nothing by it', async () => {
      const refused: [MetaCondition[], MetaChange[]][] = [
        [[], []],
        [[], [put('', 'x')]],
        [[], [put('with space', 'x')]],
        [[], [put('grün', 'x')]],
        [[], [put('a'.repeat(META_KEY_BYTES_MAX + 1), 'x')]],
        [[absent('')], [put('a', 'x')]],
        [[], [put('a', 'x'), remove('a')]],
        [[], [put('a', 'x'.repeat(META_VALUE_LENGTH_MAX + 1))]],
        [[], [put('a', '\ud800')]],
        [[], Array.from({ length: META_CHANGES_MAX + 1 }, (_, i) => remove(`k${i}`))],
      ]
      for (const [conditions, changes] of refused) {
        expect(await codeOf(commit(conditions, changes))).toBe('INVALID_ARGUMENT')
      }
      expect(await codeOf(world.settle(store.get('')))).toBe('INVALID_ARGUMENT')
      expect(await keys('', '\x7f')).toEqual([])
      expect(await commit([], [put('a', 'x')])).not.toBeNull()
    })

    it('finds everything again, and goes on counting, after it was closed', async () => {
      const before = (await commit([], [put('a', 'x'), put('b', '')])) as number
      const late = store.commit([], [put('c', 'asked before close')])
      await world.settle(store.close())
      await world.settle(late)
      expect(await codeOf(world.settle(store.get('a')))).toBe('CLOSED')
      expect(await codeOf(world.settle(store.commit([], [remove('a')])))).toBe('CLOSED')
      await world.settle(store.close())
      store = await world.reopen()
      expect(await keys('', '\x7f')).toEqual(['a', 'b', 'c'])
      expect(await commit([at('a', before)], [remove('a')])).toBeGreaterThan(before + 1)
    })

    it('does what a map with revisions does', async () => {
      const key = fc.constantFrom('a', 'a/b', 'b', 'c!')
      const change: fc.Arbitrary<MetaChange> = fc.oneof(
        fc.record({
          kind: fc.constant('put' as const),
          key,
          value: fc.string({ unit: 'grapheme' }),
        }),
        fc.record({ kind: fc.constant('remove' as const), key }),
      )
      const changes = fc.uniqueArray(change, { selector: (c) => c.key, minLength: 1 })
      /** How long ago the key was changed for the last time, as the condition believes. */
      const belief = fc.option(fc.record({ key, back: fc.nat(2) }), { nil: null })
      const step = fc.record({ changes, belief })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const model = new Map<string, MetaItem>()
          const clean = ['a', 'a/b', 'b', 'c!'].map(remove)
          let revision = (await commit([], clean)) as number
          const mirror = new Mirror(store, 'a/', 'c')
          await world.settle(mirror.until(({ starts }) => starts.length > 0))
          for (const { changes, belief } of steps) {
            const own = belief === null ? undefined : model.get(belief.key)?.revision
            const conditions: MetaCondition[] = []
            let holds = true
            if (belief !== null && belief.back === 2) {
              conditions.push(absent(belief.key))
              holds = own === undefined
            } else if (belief !== null) {
              conditions.push(at(belief.key, (own ?? revision) - belief.back))
              holds = own !== undefined && belief.back === 0
            }
            if (holds) revision++
            expect(await commit(conditions, changes)).toBe(holds ? revision : null)
            for (const made of holds ? changes : []) {
              const { key } = made
              const createdRevision = model.get(key)?.createdRevision ?? revision
              if (made.kind === 'remove') model.delete(key)
              else model.set(key, { key, value: made.value, revision, createdRevision })
            }
            const wanted = [...model.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
            expect(await world.settle(store.range('', '\x7f', 100))).toEqual(wanted)
          }
          const last = (await commit([], [put('b', 'last')])) as number
          await world.settle(mirror.reached(last))
          mirror.close()
          const items = [...mirror.items.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
          expect(items).toEqual(await world.settle(store.range('a/', 'c', 100)))
        }),
        { numRuns: 15 },
      )
    })

    describe('leases', () => {
      const TTL_MS = 60
      const grant = (ttlMs = TTL_MS): Promise<MetaLease> => world.settle(store.grantLease(ttlMs))
      const under = (lease: MetaLease, key: string): MetaChange => ({
        kind: 'put',
        key,
        value: '',
        lease,
      })

      it('end by themselves, with all their keys', async () => {
        const lease = await grant()
        expect(lease.ttlMs).toBeGreaterThanOrEqual(TTL_MS)
        await commit([], [under(lease, 'a'), under(lease, 'b'), put('c', '')])
        const mirror = new Mirror(store, 'a', 'd')
        await world.settle(mirror.until(({ told }) => told.length > 0))
        expect(mirror.told[0]?.changes.map((c) => c.kind)).toEqual(['remove', 'remove'])
        mirror.close()
        expect(await keys('', '\x7f')).toEqual(['c'])
        expect(await codeOf(world.settle(store.keepLease(lease)))).toBe('NOT_FOUND')
        expect(await codeOf(commit([], [put('d', ''), under(lease, 'e')]))).toBe('NOT_FOUND')
        expect(await commit([absent('c')], [under(lease, 'e')])).toBeNull()
        expect(await keys('', '\x7f')).toEqual(['c'])
        await world.settle(store.revokeLease(lease))
        expect(await commit([], [put('d', '')])).not.toBeNull()
      })

      it('last as long as they are kept', async () => {
        // Long enough for a machine on which much else runs to come back in time.
        const [kept, left] = [await grant(1500), await grant(1500)]
        const made = (await commit([], [under(kept, 'kept'), under(left, 'left')])) as number
        for (let round = 0; (await valueOf('left')) !== null; round++) {
          expect(round).toBeLessThan(1000)
          await world.settle(store.keepLease(kept))
          await world.settle(world.pause(50))
        }
        expect(await commit([created('kept', made)], [put('done', '')])).not.toBeNull()
      })

      it('that are revoked take their keys with them at once', async () => {
        // That none ends by itself here, however slow the machine is.
        const [first, second] = [await grant(60_000), await grant(60_000)]
        await commit([], [under(first, 'a'), under(first, 'b'), under(first, 'c')])
        await commit([], [put('b', 'freed'), under(second, 'c'), under(second, 'd')])
        await world.settle(store.revokeLease(first))
        expect(await keys('', '\x7f')).toEqual(['b', 'c', 'd'])
        await commit([], [remove('c')])
        await commit([], [put('c', 'made again')])
        await world.settle(store.revokeLease(second))
        expect(await keys('', '\x7f')).toEqual(['b', 'c'])
        await world.settle(store.revokeLease(second))
        expect(await codeOf(world.settle(store.keepLease(second)))).toBe('NOT_FOUND')
      })

      it('of a process that is gone end too', async () => {
        const lease = await grant()
        await commit([], [under(lease, 'a'), put('b', '')])
        await world.settle(store.close())
        expect(await codeOf(world.settle(store.keepLease(lease)))).toBe('CLOSED')
        expect(await codeOf(world.settle(store.grantLease(TTL_MS)))).toBe('CLOSED')
        store = await world.reopen()
        const mirror = new Mirror(store, 'a', 'b')
        await world.settle(mirror.until(({ starts }) => starts.length > 0))
        if ((await valueOf('a')) !== null) {
          await world.settle(mirror.until(({ told }) => told.length > 0))
        }
        mirror.close()
        expect(await keys('', '\x7f')).toEqual(['b'])
      })

      it('have a time that makes sense', async () => {
        for (const ttlMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
          expect(await codeOf(world.settle(store.grantLease(ttlMs)))).toBe('INVALID_ARGUMENT')
        }
      })
    })

    describe('watches', () => {
      it('tell every commit from their start on, as a whole and in order', async () => {
        const before = (await commit([], [put('w/0', 'before'), put('w/old', '')])) as number
        const mirror = new Mirror(store, 'w/', 'w0')
        expect(mirror.starts).toEqual([])
        await world.settle(mirror.until(({ starts }) => starts.length > 0))
        expect(mirror.starts).toEqual([before])
        const first = (await commit(
          [],
          [put('w/1', 'x'), put('other', ''), put('w/0', 'y')],
        )) as number
        await commit([], [put('other', 'z')])
        await commit([absent('w/1')], [put('w/2', '')])
        const last = (await commit(
          [],
          [remove('w/old'), remove('w/none'), put('w/1', '')],
        )) as number
        await world.settle(mirror.reached(last))
        const item = (key: string, value: string, revision: number, made: number): MetaChanged => ({
          kind: 'put',
          item: { key, value, revision, createdRevision: made },
        })
        const sorted = mirror.told.map(({ changes, revision }) => ({
          revision,
          changes: changes.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
        }))
        expect(sorted).toEqual([
          {
            revision: first,
            changes: [item('w/0', 'y', first, before), item('w/1', 'x', first, first)],
          },
          {
            revision: last,
            changes: [
              item('w/1', '', last, first),
              { kind: 'remove', key: 'w/old', revision: last },
            ],
          },
        ])
        expect(mirror.starts).toEqual([before])
      })

      it('are many at once, and tell nothing when they are closed', async () => {
        const all = new Mirror(store, '', '\x7f')
        const some = new Mirror(store, 'b', 'c')
        const closed = new Mirror(store, '', '\x7f')
        closed.close()
        for (const one of [all, some]) {
          await world.settle(one.until(({ starts }) => starts.length > 0))
        }
        const revisions = []
        for (const key of ['a', 'b', 'c']) revisions.push(await commit([], [put(key, '')]))
        await world.settle(all.reached(revisions[2] as number))
        await world.settle(some.reached(revisions[1] as number))
        expect(all.told.map(({ revision }) => revision)).toEqual(revisions)
        expect(some.told.map(({ revision }) => revision)).toEqual([revisions[1]])
        some.close()
        const last = (await commit([], [put('b', 'again')])) as number
        await world.settle(all.reached(last))
        expect(some.told).toHaveLength(1)
        expect([closed.starts, closed.told]).toEqual([[], []])
        await world.settle(store.close())
        await world.settle(world.pause(1))
        expect(all.told).toHaveLength(4)
        expect(() => new Mirror(store, 'a', 'b')).toThrow('CLOSED')
        expect(() => new Mirror(store, 'b', 'b')).toThrow('INVALID_ARGUMENT')
      })

      it('tell of large commits as a whole', async () => {
        const mirror = new Mirror(store, 'k', 'l')
        await world.settle(mirror.until(({ starts }) => starts.length > 0))
        const many = Array.from({ length: 3000 }, (_, i) => put(`k${i}`, 'x'.repeat(1000)))
        const revision = (await commit([], many)) as number
        await world.settle(mirror.reached(revision))
        expect(mirror.told.map(({ changes }) => changes.length)).toEqual([3000])
        expect(mirror.items.size).toBe(3000)
      })
    })
  })
}

function keyOf(change: MetaChanged): string {
  return change.kind === 'put' ? change.item.key : change.key
}
