// The control plane as a person sees it: `lemnis dev --etcd` with four chunkservers, and every command on it
// while a client writes all the time. The MDS that leads is killed, a chunkserver is drained, leaders are
// spread; no write fails. Ends with 3 where etcd is missing. Usage: node dist/test/e2e/control.js

import { spawnSync } from 'node:child_process'
import { connect } from '../../src/client/client.ts'
import type { Volume } from '../../src/client/volume.ts'
import type { Status } from '../../src/format/control/mds.ts'
import type { Maintenance, Operator, Scheduler } from '../../src/format/control/operators.ts'
import type { Chunkserver, Copyset } from '../../src/format/control/parts.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { DevCluster } from '../harness/dev-cluster.ts'
import { pattern } from '../harness/proof.ts'
import { check, say, until } from '../harness/report.ts'

const UNAVAILABLE = 3
const LIMIT_MS = 90_000
const WRITE_BYTES = 64 * 1024
const WRITES_IN_PLACE = 256

interface Shown extends Status {
  readonly mds: {
    readonly leader?: { readonly name: string }
    readonly candidates: readonly object[]
  }
}

/** Writes one place after the other until it is stopped; the first error is thrown then. */
class Writer {
  readonly #volume: Volume
  readonly #done: Promise<void>
  #isStopping = false
  writes = 0
  longestMs = 0

  constructor(volume: Volume) {
    this.#volume = volume
    this.#done = this.#run()
    // It is awaited when it is stopped.
    this.#done.catch(() => {})
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const startedMs = performance.now()
      const place = this.writes % WRITES_IN_PLACE
      await this.#volume.write(place * WRITE_BYTES, pattern(this.writes, WRITE_BYTES))
      this.longestMs = Math.max(this.longestMs, performance.now() - startedMs)
      this.writes++
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#done
    for (let n = Math.max(0, this.writes - WRITES_IN_PLACE); n < this.writes; n++) {
      const read = await this.#volume.read((n % WRITES_IN_PLACE) * WRITE_BYTES, WRITE_BYTES)
      check(Buffer.compare(read, pattern(n, WRITE_BYTES)) === 0, `write ${n} is not what is read`)
    }
  }
}

function leaderOf({ mds }: Shown): string {
  return mds.leader?.name ?? ''
}

async function failOver(cluster: DevCluster): Promise<void> {
  const before = await cluster.json<Shown>('status')
  check(before.mds.candidates.length === 3, 'not three MDS stand for election')
  const leader = leaderOf(before)
  const killedMs = performance.now()
  cluster.kill(leader)
  const after = await cluster.json<Shown>('status')
  const seconds = (performance.now() - killedMs) / 1000
  check(leaderOf(after) !== leader, `${leader} leads though it was killed`)
  say(`${leader} was killed; ${leaderOf(after)} answered ${seconds.toFixed(1)} s later`)
}

async function switches(cluster: DevCluster): Promise<void> {
  await cluster.lemnis('maintenance', 'on', '--for', '1h', '--reason', 'a proof')
  const shown = await cluster.json<Maintenance>('maintenance', 'show')
  check(shown.reason === 'a proof', `maintenance is ${JSON.stringify(shown)}`)
  await cluster.lemnis('maintenance', 'off')
  check((await cluster.json<Maintenance | null>('maintenance', 'show')) === null, 'it goes on')
  await cluster.lemnis('scheduler', 'off', 'balance')
  const isOn = async (): Promise<boolean | undefined> =>
    (await cluster.json<Scheduler[]>('scheduler', 'list')).find(({ name }) => name === 'balance')
      ?.on
  check((await isOn()) === false, 'balance is not off')
  await cluster.lemnis('scheduler', 'on', 'balance')
  check((await isOn()) === true, 'balance is not on')
  say('maintenance and schedulers go on and off')
}

async function drain(cluster: DevCluster): Promise<void> {
  const startedMs = performance.now()
  await cluster.lemnis('chunkserver', 'drain', '4', '--wait')
  const seconds = (performance.now() - startedMs) / 1000
  const copysets = await cluster.json<Copyset[]>('copyset', 'list')
  const left = copysets.filter(({ members }) => members.some((one) => one.chunkserver === 4))
  check(left.length === 0, `${left.length} copysets are still on 4`)
  const all = await cluster.json<Chunkserver[]>('chunkserver', 'list')
  check(all.find(({ id }) => id === 4)?.state === 'retired', '4 has not retired')
  const ended = await cluster.json<Operator[]>('operator', 'list', '--ended')
  const moved = ended.filter(
    ({ why, kind, state }) => why === 'drain' && kind === 'move' && state === 'finished',
  )
  check(moved.length > 0, 'no operator says that it moved anything')
  say(`chunkserver 4 was emptied in ${seconds.toFixed(1)} s by ${moved.length} operators`)
}

async function spreadLeaders(cluster: DevCluster): Promise<void> {
  const counts = async (): Promise<number[]> =>
    (await cluster.json<Chunkserver[]>('chunkserver', 'list'))
      .filter(({ state }) => state === 'online')
      .map(({ leaders }) => leaders)
  const spread = (of: readonly number[]): number => Math.max(...of) - Math.min(...of)
  await cluster.lemnis('leader', 'balance')
  await until(
    async () => spread(await counts()) <= 1,
    LIMIT_MS,
    () => 'leaders are even',
  )
  say(`chunkservers lead ${(await counts()).join(', ')} copysets`)
}

async function main(cluster: DevCluster): Promise<void> {
  await cluster.lemnis('volume', 'create', 'disk1', '--size', '1GiB')
  const client = connect(nodeEnv('/'), SILENT, { mds: cluster.mdsAddresses, name: 'control' })
  const volume = await client.open('disk1')
  const writer = new Writer(volume)
  try {
    await failOver(cluster)
    // The one that was killed is started again, and stands by.
    const isWell = async (): Promise<boolean> => {
      const { code, output } = await cluster.tryLemnis('check')
      checked = output
      return code === 0
    }
    let checked = ''
    await until(isWell, LIMIT_MS, () => `check ends with 0:\n${checked}`)
    say(`all is well:\n${checked.trimEnd()}`)
    await switches(cluster)
    await drain(cluster)
    await spreadLeaders(cluster)
  } finally {
    await writer.stop()
    await client.close()
  }
  const longest = (writer.longestMs / 1000).toFixed(2)
  say(`${writer.writes} writes meanwhile, none failed, the longest took ${longest} s`)
}

if (spawnSync('etcd', ['--version']).error !== undefined) {
  say('skipped: etcd is not on this machine')
  process.exit(UNAVAILABLE)
}
const cluster = await DevCluster.start({ etcd: true, chunkservers: 4 })
try {
  await main(cluster)
  const pids = cluster.roles().map(({ pid }) => pid)
  check(pids.length === 11, `${pids.length} processes instead of 11`)
  await cluster.killDev()
  say('kill -9 of dev ends every role and every member of etcd')
} finally {
  await cluster.close()
}
say('the control plane did what it was told')
