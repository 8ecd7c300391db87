import { spawnSync } from 'node:child_process'
import { hostname } from 'node:os'
import { expect, it } from 'vitest'
import { LemnisError } from '../../base/errors.ts'
import { holderName } from './holder.ts'
import { openAfterPredecessor } from './predecessor.ts'

const deadPid = spawnSync('true').pid
const dead = `nbd on ${hostname()}, pid ${deadPid}, http://127.0.0.1:7490`

/** Refuses so often, then opens; what came of it, and how often it was asked. */
async function opened(
  refusals: number,
  address: string,
): Promise<{ asked: number; came: unknown }> {
  let asked = 0
  const open = (): Promise<string> => {
    asked++
    if (asked > refusals) return Promise.resolve('volume')
    return Promise.reject(new LemnisError('IN_USE', { volume: 'a', address, leaseEndsInMs: 1 }))
  }
  const came = await openAfterPredecessor(open).catch((error: unknown) => error)
  return { asked, came }
}

it('waits for the lease of a process that was killed here', async () => {
  expect(await opened(1, dead)).toEqual({ asked: 2, came: 'volume' })
  expect(await opened(3, dead)).toEqual({ asked: 4, came: 'volume' })
})

it('gives up when the lease goes on', async () => {
  const { asked, came } = await opened(9, dead)
  expect(asked).toBe(4)
  expect(came).toMatchObject({ code: 'IN_USE' })
})

it('refuses at once when the holder lives, or is of another host', async () => {
  const others = [holderName('nbd', ''), `nbd on other-${hostname()}, pid ${deadPid}`, 'backup']
  for (const address of others) {
    const { asked, came } = await opened(9, address)
    expect([asked, (came as LemnisError).code]).toEqual([1, 'IN_USE'])
  }
})
