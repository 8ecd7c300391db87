// kill -9 of a real process in the middle of real commits, and one that has no room to write: what it
// had answered must be there, and each commit as a whole or not at all.

import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { LmdbStore } from './lmdb-store.ts'

const PROJECT = join(import.meta.dirname, '../..')
const LIVES = 6
const TOLD_BEFORE_KILL = 150

let root = ''
let code = ''

/** A process of its own needs compiled code; what is in dist/ may be older than this. */
beforeAll(() => {
  const scratch = join(PROJECT, '.tmp')
  mkdirSync(scratch, { recursive: true })
  root = mkdtempSync(join(scratch, 'lmdb-kill-'))
  code = join(root, 'code')
  const options = ['-p', PROJECT, '--outDir', code, '--noCheck', '--sourceMap', 'false']
  execFileSync(join(PROJECT, 'node_modules/.bin/tsc'), options, { stdio: 'ignore' })
})

function programNamed(name: string): string {
  const path = join(code, 'test/e2e', name)
  if (!existsSync(path)) throw new Error(`${name} was not compiled`)
  return path
}

afterAll(() => {
  rmSync(root, { recursive: true })
})

interface Told {
  readonly lane: number
  readonly count: number
  readonly revision: number
}

it('a killed process leaves every commit that it had answered, and none in part', async () => {
  const directory = join(root, 'store')
  const program = programNamed('commit-until-killed.js')
  const told = new Map<number, Told>()
  for (let life = 0; life < LIVES; life++) {
    const child = fork(program, [directory], { execArgv: [] })
    const exited = once(child, 'exit')
    let left = TOLD_BEFORE_KILL + 37 * life
    child.on('message', (one: Told) => {
      told.set(one.lane, one)
      if (--left === 0) child.kill('SIGKILL')
    })
    const [, signal] = await exited
    expect(signal).toBe('SIGKILL')
    await check(directory, told)
  }
})

it('a store without room fails for good, and keeps what it had answered', async () => {
  const directory = join(root, 'full')
  const program = programNamed('commit-until-full.js')
  // In blocks of 512 bytes. Node ignores the signal that comes with it, so that the write fails.
  const limited = 'ulimit -f 4096; exec "$0" "$@"'
  const args = ['-c', limited, process.execPath, program, directory]
  const printed = execFileSync('/bin/sh', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const { answered, said } = JSON.parse(String(printed)) as { answered: number; said: string[] }
  expect(said).toEqual(['DISK_FAILED', 'DISK_FAILED'])
  expect(answered).toBeGreaterThan(20)
  const store = await LmdbStore.open(directory)
  expect(await store.range('', '~', 10_000)).toHaveLength(answered)
  await store.close()
})

async function check(directory: string, told: ReadonlyMap<number, Told>): Promise<void> {
  const store = await LmdbStore.open(directory)
  expect(told.size).toBe(4)
  let newest = 0
  for (const { lane, count, revision } of told.values()) {
    const items = await store.range(`lane/${lane}/`, `lane/${lane}/~`, 10)
    expect(items.map(({ key }) => key)).toEqual([0, 1, 2].map((i) => `lane/${lane}/${i}`))
    for (const item of items) {
      expect(Number(item.value)).toBeGreaterThanOrEqual(count)
      expect(item.revision).toBeGreaterThanOrEqual(revision)
      expect([item.value, item.revision]).toEqual([items[0]?.value, items[0]?.revision])
      newest = Math.max(newest, item.revision)
    }
  }
  // The counter is written with the items: it never falls behind them.
  expect(await store.commit([], [{ kind: 'put', key: 'next', value: '' }])).toBeGreaterThan(newest)
  await store.close()
}
