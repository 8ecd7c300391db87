import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { open } from 'lmdb'
import { describe, expect, it } from 'vitest'
import { describeMetaStore } from '../../test/contract/metastore.ts'
import { LemnisError } from '../base/errors.ts'
import { LmdbStore } from './lmdb-store.ts'

function makeDirectory(): string {
  const scratch = join(import.meta.dirname, '../../.tmp')
  mkdirSync(scratch, { recursive: true })
  return mkdtempSync(join(scratch, 'lmdb-'))
}

describeMetaStore('LMDB', async () => {
  const directory = makeDirectory()
  const store = await LmdbStore.open(directory)
  const opened = [store]
  return {
    store,
    settle: (promise) => promise,
    pause: (ms) => sleep(ms),
    reopen: async () => {
      const again = await LmdbStore.open(directory)
      opened.push(again)
      return again
    },
    end: async () => {
      for (const each of opened) await each.close()
      rmSync(directory, { recursive: true })
    },
  }
})

describe('LmdbStore', () => {
  const HEAD = new Uint8Array([0])

  async function codeAfter(
    change: (db: ReturnType<typeof raw>) => Promise<unknown>,
  ): Promise<string> {
    const directory = makeDirectory()
    const store = await LmdbStore.open(directory)
    await store.commit([], [{ kind: 'put', key: 'a', value: 'x' }])
    await store.close()
    const db = raw(directory)
    await change(db)
    await db.close()
    try {
      const again = await LmdbStore.open(directory)
      try {
        await again.get('a')
      } finally {
        await again.close()
      }
    } catch (error) {
      return error instanceof LemnisError ? error.code : String(error)
    } finally {
      rmSync(directory, { recursive: true })
    }
    return 'opened'
  }

  const raw = (path: string) =>
    open<Uint8Array, Uint8Array>({
      path,
      noSubdir: false,
      encoding: 'binary',
      keyEncoding: 'binary',
    })

  it('keeps the bytes that docs/formats/metastore.md says', async () => {
    const seen: string[] = []
    await codeAfter(async (db) => {
      for (const { key, value } of db.getRange({})) {
        seen.push(`${Buffer.from(key).toString('hex')} ${Buffer.from(value).toString('hex')}`)
      }
    })
    expect(seen).toEqual(['00 020000000100000000000000', '61 0100000000000000010000000000000078'])
  })

  it('refuses a store of a newer format, and one without or with a damaged head', async () => {
    expect(await codeAfter((db) => db.put(HEAD, new Uint8Array([3, ...new Uint8Array(11)])))).toBe(
      'VERSION_MISMATCH',
    )
    expect(await codeAfter((db) => db.put(HEAD, new Uint8Array(5)))).toBe('CORRUPT')
    expect(await codeAfter((db) => db.remove(HEAD))).toBe('CORRUPT')
  })

  it('reads what was written before items knew who made them', async () => {
    const directory = makeDirectory()
    const db = raw(directory)
    const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
    await db.put(HEAD, hex('010000000900000000000000'))
    await db.put(hex('61'), hex('040000000000000078'))
    await db.put(hex('62'), hex('0900000000000000'))
    await db.close()
    const store = await LmdbStore.open(directory)
    expect(await store.range('', '~', 9)).toEqual([
      { key: 'a', value: 'x', revision: 4, createdRevision: 4 },
      { key: 'b', value: '', revision: 9, createdRevision: 9 },
    ])
    expect(await store.commit([], [{ kind: 'put', key: 'c', value: '' }])).toBe(10)
    await store.close()
    const again = await LmdbStore.open(directory)
    expect(await again.get('a')).toMatchObject({ revision: 4, createdRevision: 4 })
    await again.close()
    rmSync(directory, { recursive: true })
  })

  it('says which item can not be read', async () => {
    const key = new Uint8Array([0x61])
    expect(await codeAfter((db) => db.put(key, new Uint8Array(3)))).toBe('CORRUPT')
    const notText = new Uint8Array([...new Uint8Array(16), 0xff])
    expect(await codeAfter((db) => db.put(key, notText))).toBe('CORRUPT')
  })

  it('says what is wrong with a directory that it cannot have', async () => {
    await expect(LmdbStore.open('/dev/null/none')).rejects.toMatchObject({ code: 'DISK_FAILED' })
  })
})
