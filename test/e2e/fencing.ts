// One writer: a second one is refused and told who has the volume; --force takes it over, and from then
// on the first one can change nothing, whatever it believes: its epoch is refused where the change would
// be applied, by every leader, also by those elected later, and with the MDS down.
// Usage: node dist/test/e2e/fencing.js [--short]

import { LemnisError } from '../../src/base/errors.ts'
import type { Volume } from '../../src/client/volume.ts'
import { decodeCopysetLeader, encodeGroup } from '../../src/format/chunk-replies.ts'
import { BLOCK_BYTES, CHUNK_BYTES, encodeChunkRequest } from '../../src/format/chunk-request.ts'
import type { Copyset } from '../../src/format/control/parts.ts'
import { METHODS } from '../../src/format/methods.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { rpcConfig } from '../../src/rpc/config.ts'
import { check, isEqual, pattern, say } from '../harness/proof.ts'
import { RoleCluster } from '../harness/role-cluster.ts'

const CHUNKS = 6
const CALL_MS = 3000
const LIMIT_MS = 20_000

interface Place {
  readonly offset: number
  readonly chunk: number
  readonly copyset: Copyset
}

const env = nodeEnv('/')
const cluster = await RoleCluster.start({ copysets: 3 })
const connections = new Map<string, RpcClient>()

function connection(address: string): RpcClient {
  let client = connections.get(address)
  if (client === undefined) {
    client = new RpcClient(env, SILENT, address, rpcConfig(), 'forger')
    connections.set(address, client)
  }
  return client
}

async function codeOf(work: Promise<unknown>): Promise<LemnisError> {
  try {
    await work
  } catch (error) {
    if (error instanceof LemnisError) return error
    throw error
  }
  throw new Error('it was not refused')
}

/** The leader, as the members themselves say: the MDS may be down. */
async function leaderOf({
  id,
  members,
}: Copyset): Promise<{ address: string; chunkserver: number; term: number }> {
  const endMs = performance.now() + LIMIT_MS
  for (;;) {
    for (const { address, chunkserver } of members) {
      const ask = connection(address).callAsync(
        METHODS.COPYSET_LEADER,
        encodeGroup(id),
        null,
        CALL_MS,
      )
      const reply = await ask.catch(() => null)
      if (reply === null) continue
      const { leader, term } = decodeCopysetLeader(reply.body)
      if (leader === chunkserver) return { address, chunkserver, term }
    }
    check(performance.now() < endMs, `no leader of copyset ${id}`)
    await new Promise((resume) => setTimeout(resume, 50))
  }
}

/** A write by no client of ours: straight to the leader, with that epoch, right in everything else. */
async function forge(
  volume: number,
  epoch: number,
  place: Place,
  bytes: Uint8Array,
): Promise<string> {
  const { address, chunkserver, term } = await leaderOf(place.copyset)
  const crc = env.crc32c(bytes)
  const body = encodeChunkRequest({
    op: 'write',
    group: place.copyset.id,
    volume,
    epoch,
    sn: 1,
    chunk: place.chunk,
    firstBlock: 0,
    blockCount: 1,
    term,
    attempt: 1000,
    crcs: [crc],
  })
  const call = connection(address).callAsync(METHODS.CHUNK_WRITE, body, bytes, CALL_MS)
  const code = await call.then(
    () => 'ok',
    (error: unknown) => (error as LemnisError).code,
  )
  return `${code} from chunkserver ${chunkserver}`
}

async function forgeEverywhere(
  volume: Volume,
  epoch: number,
  places: readonly Place[],
): Promise<number> {
  const answers: string[] = []
  for (const [i, place] of places.entries()) {
    answers.push(await forge(volume.info.id, epoch, place, pattern(900 + i, BLOCK_BYTES)))
  }
  const wrong = answers.filter((answer) => !answer.startsWith('FENCED'))
  check(wrong.length === 0, `epoch ${epoch}: ${wrong.join(', ')}`)
  return answers.length
}

const contentOf = (writer: number, i: number): Uint8Array => pattern(writer * 100 + i, BLOCK_BYTES)

async function writeAll(volume: Volume, writer: number): Promise<void> {
  for (let i = 0; i < CHUNKS; i++) await volume.write(i * CHUNK_BYTES, contentOf(writer, i))
}

async function expectAll(volume: Volume, writer: number): Promise<void> {
  for (let i = 0; i < CHUNKS; i++) {
    const read = await volume.read(i * CHUNK_BYTES, BLOCK_BYTES)
    check(isEqual(read, contentOf(writer, i)), `block of chunk ${i} is not writer ${writer}'s`)
  }
}

async function places(): Promise<Place[]> {
  const found: Place[] = []
  for (let i = 0; i < CHUNKS; i++) {
    const offset = i * CHUNK_BYTES
    const { stdout } = await cluster.lemnis('--json', 'chunk', 'locate', 'disk1', `${offset}`)
    found.push({ ...(JSON.parse(stdout) as Omit<Place, 'offset'>), offset })
  }
  return found
}

try {
  await cluster.lemnis('volume', 'create', 'disk1', '--size', '1GiB')
  const one = cluster.client('writer-one')
  const two = cluster.client('writer-two')
  let toldFenced: LemnisError | null = null
  const first = await one.open('disk1', { onFenced: (error) => (toldFenced = error) })
  await writeAll(first, 1)

  const refusal = await codeOf(two.open('disk1'))
  check(refusal.code === 'IN_USE', `a second writer: ${refusal.code}`)
  check(JSON.stringify(refusal.detail).includes('writer-one'), `no holder in ${refusal.message}`)
  const bench = await cluster.lemnis(
    'bench',
    'volume',
    'disk1',
    '--rw',
    'randwrite',
    '--yes',
    '--time',
    '1s',
  )
  check(bench.code === 1 && bench.stderr.includes('--force'), `the CLI: ${bench.stderr}`)
  say(`a second writer is refused: ${refusal.message}`)

  const oldEpoch = first.stats().epoch
  const located = await places()
  const beganMs = performance.now()
  const second = await two.open('disk1', { force: true })
  const tookMs = performance.now() - beganMs
  const epoch = second.stats().epoch
  check(epoch > oldEpoch, `epoch ${epoch} after ${oldEpoch}`)
  await writeAll(second, 2)
  say(`--force takes it over in ${tookMs.toFixed(0)} ms: epoch ${oldEpoch} becomes ${epoch}`)

  // From here on nobody can ask the MDS who the writer is.
  await cluster.stop('mds', 'SIGKILL')
  const count = await forgeEverywhere(second, oldEpoch, located)
  say(
    `MDS down, writes with epoch ${oldEpoch} straight to the leaders: ${count} of ${count} FENCED`,
  )

  const late = await codeOf(first.write(0, contentOf(1, 0)))
  check(late.code === 'FENCED', `the first writer's next write: ${late.code}`)
  const again = await codeOf(first.write(CHUNK_BYTES, contentOf(1, 1)))
  const flush = await codeOf(first.flush())
  check(again.code === 'FENCED' && flush.code === 'FENCED', `then ${again.code}, ${flush.code}`)
  await cluster.until('the first writer is told', () => toldFenced !== null)
  say(`the first writer's next write, and its flush: ${late.message}`)

  await expectAll(second, 2)
  await writeAll(second, 3)
  await expectAll(second, 3)
  say(`the second writer writes and reads on, MDS down: ${CHUNKS} of ${CHUNKS} blocks are its own`)

  const { chunkserver } = await leaderOf((located[0] as Place).copyset)
  await cluster.stop(`chunkserver-${chunkserver}`, 'SIGKILL')
  const after = await forgeEverywhere(second, oldEpoch, located)
  await expectAll(second, 3)
  say(
    `chunkserver ${chunkserver} killed, other leaders elected: ${after} of ${after} old writes FENCED`,
  )
  await cluster.startChunkserver(chunkserver)

  await cluster.startMds()
  await cluster.until('the volume shows its writer', async () => {
    const { stdout } = await cluster.lemnis('volume', 'show', 'disk1')
    return stdout.includes('writer-two')
  })
  await cluster.untilOk()
  const third = await codeOf(one.open('disk1'))
  check(third.code === 'IN_USE', `after the restart of the MDS: ${third.code}`)
  for (const n of [1, 2, 3]) await cluster.stop(`chunkserver-${n}`, 'SIGKILL')
  for (const n of [1, 2, 3]) await cluster.startChunkserver(n)
  const last = await forgeEverywhere(second, oldEpoch, located)
  await expectAll(second, 3)
  say(
    `MDS back: IN_USE as before; all chunkservers killed and started: ${last} of ${last} old writes FENCED`,
  )

  await second.close()
  const next = await one.open('disk1')
  await expectAll(next, 3)
  await next.close()
  say(
    `closed by the second, opened by the first again with epoch ${next.stats().epoch}: nothing was lost`,
  )
} finally {
  await Promise.all([...connections.values()].map((client) => client.close()))
  await cluster.close()
}
