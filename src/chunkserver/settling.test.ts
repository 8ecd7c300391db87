import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { asLemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import type { Replica } from '../copyset/replica.ts'
import type { Env } from '../env/env.ts'
import { SILENT } from '../observe/observe.ts'
import { rpcConfig } from '../rpc/config.ts'
import { SimHost } from '../sim/host.ts'
import { chunksOf } from './chunk-machine.ts'
import { chunkserverConfig } from './config.ts'
import { Neighbours } from './neighbours.ts'
import { Settling } from './settling.ts'
import { blocks, ChunkRig, GROUP } from './testing/chunk-rig.ts'

const PEER_TIMEOUT_MS = 6000

/** How a question was answered: 'settled' or a code; '' while it waits. */
interface Question {
  answer: string
}

/** A group of three; the question is asked of one of its replicas from a machine of its own. */
class SettlingRig extends ChunkRig {
  #env: Env | null = null

  async upWithAsker(): Promise<number> {
    const leader = await this.up()
    const asker = new SimHost(this.world, { name: 'asker', network: this.network })
    this.network.add(asker)
    asker.start((env) => {
      this.#env = env
    })
    await this.run(10)
    return leader
  }

  replica(n: number): Replica {
    return must(this.server(n).host.replica(GROUP) ?? null, 'a replica')
  }

  async settlingOf(n: number): Promise<Settling> {
    const env = must(this.#env, 'the asker runs')
    await this.settle(env.disk.makeDirectory('disk'))
    const opening = Neighbours.open(env, SILENT, rpcConfig(), 'asker', 'disk')
    const neighbours = await this.settle(opening)
    const addresses = [1, 2, 3].map((one) => ({ chunkserver: one, address: `c${one}:8200` }))
    neighbours.learn(1, addresses)
    const config = chunkserverConfig({ peerTimeoutMs: PEER_TIMEOUT_MS })
    const { host } = this.server(n)
    return new Settling({ clock: env.clock, host, config, neighbours })
  }

  /** Between two machines, in both directions. */
  part(a: string, b: string): void {
    this.network.cut(a, b)
    this.network.cut(b, a)
  }

  join(a: string, b: string): void {
    this.network.mend(a, b)
    this.network.mend(b, a)
  }

  asks(settling: Settling, n: number): Question {
    const question = { answer: '' }
    settling.settled(this.replica(n)).then(
      () => {
        question.answer = 'settled'
      },
      (error: unknown) => {
        question.answer = asLemnisError(error).code
      },
    )
    return question
  }
}

const others = (n: number): number[] => [1, 2, 3].filter((one) => one !== n)

describe('whether a replica is settled', () => {
  it('is known at once of one that has all, on a leader and on a follower', async () => {
    const rig = new SettlingRig(3)
    const leader = await rig.upWithAsker()
    await rig.write(blocks(1, 8))
    await rig.untilEven()
    for (const n of [leader, ...others(leader)]) {
      const question = rig.asks(await rig.settlingOf(n), n)
      await rig.run(100)
      expect(question.answer).toBe('settled')
    }
  })

  it('waits while nobody leads', async () => {
    const rig = new SettlingRig(3)
    const leader = await rig.upWithAsker()
    const follower = (leader % 3) + 1
    const third = (follower % 3) + 1
    rig.machine(leader).crash()
    rig.machine(third).crash()
    await rig.run(3000)
    expect(rig.replica(follower).leader).toBe(0)
    const question = rig.asks(await rig.settlingOf(follower), follower)
    await rig.run(2000)
    expect(question.answer).toBe('')
    await rig.start(third)
    await rig.until('an answer', () => question.answer !== '')
    expect(question.answer).toBe('settled')
  })

  it('is refused when nobody leads in time', async () => {
    const rig = new SettlingRig(3)
    const leader = await rig.upWithAsker()
    const follower = (leader % 3) + 1
    for (const n of others(follower)) rig.machine(n).crash()
    await rig.run(3000)
    const question = rig.asks(await rig.settlingOf(follower), follower)
    await rig.run(PEER_TIMEOUT_MS - 100)
    expect(question.answer).toBe('')
    await rig.run(200)
    expect(question.answer).toBe('NOT_LEADER')
  })

  it('waits until a replica that is behind has applied what the leader has', async () => {
    const rig = new SettlingRig(3)
    const leader = await rig.upWithAsker()
    const follower = (leader % 3) + 1
    const settling = await rig.settlingOf(follower)
    for (const n of others(follower)) rig.part(`c${follower}`, `c${n}`)
    await rig.write(blocks(1, 8))
    const question = rig.asks(settling, follower)
    await rig.run(500)
    expect(question.answer).toBe('')
    for (const n of others(follower)) rig.join(`c${follower}`, `c${n}`)
    await rig.until('an answer', () => question.answer !== '')
    expect(question.answer).toBe('settled')
    expect(rig.replica(follower).applied).toBe(rig.replica(leader).applied)
  })

  it('is asked once of a replica, and again after it has received a state', async () => {
    const rig = new SettlingRig(3, { host: { checkpointBytes: MIB, logHeldMs: 1000 } })
    const leader = await rig.upWithAsker()
    const follower = (leader % 3) + 1
    const settling = await rig.settlingOf(follower)
    expect(await answered(rig, settling, follower)).toBe('settled')
    for (const n of others(follower)) rig.part(`c${follower}`, `c${n}`)
    // Nobody answers it, and nobody has to.
    for (const n of [1, 2, 3]) rig.part('asker', `c${n}`)
    expect(await answered(rig, settling, follower)).toBe('settled')
    // More than the log keeps.
    for (let i = 0; i < 24; i++) await rig.write(blocks(i, 256))
    await rig.run(2000)
    for (const n of others(follower)) rig.join(`c${follower}`, `c${n}`)
    await rig.until('the state', () => chunksOf(rig.replica(follower)).received === 1)
    const question = rig.asks(settling, follower)
    await rig.run(1000)
    expect(question.answer).toBe('')
    for (const n of [1, 2, 3]) rig.join('asker', `c${n}`)
    await rig.until('an answer', () => question.answer !== '')
    expect(question.answer).toBe('settled')
  })
})

async function answered(rig: SettlingRig, settling: Settling, n: number): Promise<string> {
  const question = rig.asks(settling, n)
  await rig.until('an answer', () => question.answer !== '')
  return question.answer
}
