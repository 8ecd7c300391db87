// kill -9 of all three replicas at once while clients write, again and again: after each restart every
// acknowledged entry must be there with the bytes that were acknowledged, and the replicas' states must
// be equal. Usage: node dist/test/e2e/kill-all.js [--rounds 3] [--seconds 2] [--depth 32] [--groups 4]

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { ReplicaCluster } from '../../bench/cluster/cluster.ts'
import { LoadClients } from '../../bench/cluster/load.ts'
import { nodeEnv } from '../../src/platform/env.ts'

/** Writes go round over this many keys, so that most are overwrites. */
const KEYS = 500

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    depth: { type: 'string', default: '32' },
    groups: { type: 'string', default: '4' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const depth = Number(values.depth)
const groups = Number(values.groups)
if (KEYS % groups !== 0) throw new Error(`--groups must divide ${KEYS}`)
/** Small, so that kills meet checkpoints and reused log segments too. */
const CHECKPOINT_BYTES = 2 * 1024 * 1024
const VALUE_BYTES = 4096

/** The newest acknowledged write of a key, and those sent after it whose fate is unknown. */
interface Expected {
  acknowledged: number
  unknown: number[]
}

const expected = new Map<string, Expected>()
let sent = 0
let acknowledgedCount = 0

function keyOf(n: number): string {
  return `k${n % KEYS}`
}

function valueOf(n: number): Uint8Array {
  const value = new Uint8Array(VALUE_BYTES).fill(n % 251)
  new DataView(value.buffer).setFloat64(0, n, true)
  return value
}

/** Keys are used in turn and more of them than calls are in flight: one key, one call at a time. */
function next(base: number): (n: number) => { key: string; value: Uint8Array } {
  return (n) => {
    const id = base + n
    sent++
    const known = expected.get(keyOf(id)) ?? { acknowledged: -1, unknown: [] }
    known.unknown.push(id)
    expected.set(keyOf(id), known)
    return { key: keyOf(id), value: valueOf(id) }
  }
}

function acknowledge(base: number): (n: number) => void {
  return (n) => {
    const known = expected.get(keyOf(base + n)) as Expected
    known.acknowledged = base + n
    // What was sent before this one can't come after it: its call had ended, or it was never taken.
    known.unknown = known.unknown.filter((id) => id > base + n)
    acknowledgedCount++
  }
}

async function verify(load: LoadClients): Promise<number> {
  let checked = 0
  for (const [key, { acknowledged, unknown }] of expected) {
    const n = acknowledged >= 0 ? acknowledged : (unknown[0] as number)
    const found = await load.get(n, key)
    if (acknowledged < 0 && found === null) continue
    if (found === null)
      throw new Error(`${key}: write ${acknowledged} was acknowledged and is lost`)
    const id = new DataView(found.buffer, found.byteOffset).getFloat64(0, true)
    if (id !== acknowledged && !unknown.includes(id)) {
      throw new Error(`${key}: holds write ${id}, acknowledged was ${acknowledged}`)
    }
    const whole = valueOf(id)
    if (!whole.every((byte, i) => byte === found[i])) throw new Error(`${key}: bytes differ`)
    checked++
  }
  return checked
}

/** All replicas of a group have applied the same index: then their states must be equal. */
async function compare(cluster: ReplicaCluster): Promise<number> {
  const hosts = [...(await cluster.status()).values()]
  let compared = 0
  for (let group = 1; group <= groups; group++) {
    const replicas = hosts.map((statuses) => statuses.find((status) => status.group === group))
    const digests = new Map<number, number>()
    for (const replica of replicas) {
      if (replica === undefined) throw new Error(`group ${group} is missing on a host`)
      const known = digests.get(replica.applied)
      if (known !== undefined && known !== replica.digest) {
        throw new Error(`group ${group}: states differ at index ${replica.applied}`)
      }
      if (known !== undefined) compared++
      digests.set(replica.applied, replica.digest)
    }
  }
  return compared
}

const directory = mkdtempSync(`${tmpdir()}/lemnis-kill-`)
const cluster = new ReplicaCluster({ directory, groups, checkpointBytes: CHECKPOINT_BYTES })
try {
  for (let round = 1; round <= rounds; round++) {
    await cluster.start()
    const load = new LoadClients(nodeEnv(directory), cluster, groups)
    await load.ready()
    const checked = await verify(load)
    // A key belongs to one group for ever: numbers of a round begin at a multiple of both.
    const base = Math.ceil(sent / KEYS) * KEYS
    sent = base
    const kill = new Promise<void>((resolve) => setTimeout(resolve, seconds * 1000))
    const writing = load.run(depth, seconds + 0.2, next(base), acknowledge(base))
    await kill
    await cluster.killAll()
    await writing
    await load.close()
    console.log(
      `round ${round}: ${checked} keys right after start, ${acknowledgedCount} writes acknowledged, all killed`,
    )
  }
  await cluster.start()
  const load = new LoadClients(nodeEnv(directory), cluster, groups)
  await load.ready()
  const checked = await verify(load)
  const compared = await compare(cluster)
  await load.close()
  await cluster.close()
  console.log(
    `after ${rounds} kills: ${acknowledgedCount} acknowledged writes, ${checked} keys right, ${compared} pairs of replicas equal`,
  )
} finally {
  await cluster.killAll()
  rmSync(directory, { recursive: true, force: true })
}
