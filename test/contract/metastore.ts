// Owns what every MetaStore must do, run on the embedded and on the simulated one alike. What a crash
// takes is tested with the simulator (src/sim/metastore.test.ts) and by kill -9 (src/platform/lmdb-kill.test.ts).

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LemnisError } from '../../src/base/errors.ts'
import {
  META_CHANGES_MAX,
  META_KEY_BYTES_MAX,
  META_VALUE_LENGTH_MAX,
  type MetaChange,
  type MetaCondition,
  type MetaStore,
} from '../../src/env/metastore.ts'

export interface MetaStoreUnderTest {
  readonly store: MetaStore
  /** Lets the world go on until `promise` is done. */
  settle<T>(promise: Promise<T>): Promise<T>
  /** The same data as a new process finds it, after close(). */
  reopen(): Promise<MetaStore>
  end(): Promise<void>
}

const put = (key: string, value: string): MetaChange => ({ kind: 'put', key, value })
const remove = (key: string): MetaChange => ({ kind: 'remove', key })
const absent = (key: string): MetaCondition => ({ kind: 'absent', key })
const at = (key: string, revision: number): MetaCondition => ({ kind: 'revision', key, revision })

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof LemnisError) return error.code
    throw error
  }
  return 'no error'
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
      expect(await commit([at('a', before)], [remove('a')])).toBe(before + 2)
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
          const model = new Map<string, { value: string; revision: number }>()
          const clean = ['a', 'a/b', 'b', 'c!'].map(remove)
          let revision = (await commit([], clean)) as number
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
            expect(await commit(conditions, changes)).toBe(holds ? ++revision : null)
            for (const made of holds ? changes : []) {
              if (made.kind === 'remove') model.delete(made.key)
              else model.set(made.key, { value: made.value, revision })
            }
            const items = await world.settle(store.range('', '\x7f', 100))
            const wanted = [...model].map(([k, item]) => ({ key: k, ...item }))
            expect(items).toEqual(wanted.sort((a, b) => (a.key < b.key ? -1 : 1)))
          }
        }),
        { numRuns: 15 },
      )
    })
  })
}
