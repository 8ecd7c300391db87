// kill -9 of a real process in the middle of real writes: what it had reported durable must be
// there.

import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { bytesEqual } from '../base/bytes.ts'
import { SILENT } from '../observe/observe.ts'
import { nodeEnv } from '../platform/env.ts'
import { raftLogConfig } from './config.ts'
import { RaftLog } from './raftlog.ts'
import { GROUP_COUNT, KILLED_CONFIG, type Told } from './testing/killed.ts'
import { entry, readAll } from './testing/log-rig.ts'

const PROJECT = join(import.meta.dirname, '../..')
const LIVES = 5
const TOLD_BEFORE_KILL = 700

let root = ''
let program = ''

/** A process of its own needs compiled code; what is in dist/ may be older than this. */
function compile(into: string): void {
  const tsc = join(PROJECT, 'node_modules/.bin/tsc')
  const options = ['-p', PROJECT, '--outDir', into, '--noCheck', '--sourceMap', 'false']
  execFileSync(tsc, options, { stdio: 'ignore' })
}

beforeAll(() => {
  const scratch = join(PROJECT, '.tmp')
  mkdirSync(scratch, { recursive: true })
  root = mkdtempSync(join(scratch, 'kill-'))
  compile(join(root, 'code'))
  program = join(root, 'code/test/e2e/append-until-killed.js')
  if (!existsSync(program)) throw new Error('the program to kill was not compiled')
})

afterAll(() => {
  rmSync(root, { recursive: true })
})

it('a killed process leaves all that it had reported', async () => {
  const told = new Map<number, number>()
  for (let life = 0; life < LIVES; life++) {
    const child = fork(program, [root], { execArgv: [] })
    const exited = once(child, 'exit')
    let count = 0
    child.on('message', ({ group, index }: Told) => {
      expect(index).toBe((told.get(group) ?? index - 1) + 1)
      told.set(group, index)
      if (++count === TOLD_BEFORE_KILL + 37 * life) child.kill('SIGKILL')
    })
    const [, signal] = await exited
    expect(signal).toBe('SIGKILL')
    await check(told)
  }
})

async function check(told: Map<number, number>): Promise<void> {
  const log = await RaftLog.open(nodeEnv(root), SILENT, 'log', raftLogConfig(KILLED_CONFIG))
  expect([log.damage, log.groupIds().length]).toEqual([null, GROUP_COUNT])
  for (const [group, index] of told) {
    const last = log.group(group).lastIndex()
    expect(last).toBeGreaterThanOrEqual(index)
    const found = await readAll(log, group)
    const right = found.every(({ index: at, data }) => {
      return bytesEqual(data, entry(group, at, 1, (at * 977) % 9000).data)
    })
    expect(right).toBe(true)
    // What was on disk without having been reported counts from now on.
    told.set(group, last)
  }
  await log.close()
}
