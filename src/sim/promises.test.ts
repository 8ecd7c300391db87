import { describe, expect, it } from 'vitest'
import type { Env } from '../env/env.ts'
import { SILENT } from '../observe/observe.ts'
import { initialConfiguration } from '../raft/configuration.ts'
import type { Entry, ReplicaId } from '../raft/types.ts'
import { type RaftLogBug, raftLogConfig } from '../raftlog/config.ts'
import type { GroupWrite } from '../raftlog/group-write.ts'
import { RaftLog } from '../raftlog/raftlog.ts'
import { SimHost } from './host.ts'
import { SimNetwork } from './network.ts'
import { DurableMarks, LogPromises } from './promises.ts'
import { World } from './world.ts'

const KIB = 1024
const REPLICA = 5 as ReplicaId
const MARK = { index: 1, term: 1, config: initialConfiguration([REPLICA]) }

function entry(index: number): Entry {
  return { term: 2, index, kind: 'data', data: new Uint8Array(3900).fill(index) }
}

/** A host that opens its log at each start and is told what to write. */
class LogHost {
  readonly world = new World({ seed: 9 })
  readonly host: SimHost
  readonly marks = new DurableMarks()
  readonly promises: LogPromises
  log: RaftLog | null = null
  usable: boolean | null = null
  readonly #bugs: ReadonlySet<RaftLogBug>

  constructor(bugs: readonly RaftLogBug[] = []) {
    this.#bugs = new Set(bugs)
    this.host = new SimHost(this.world, { name: 'h1', network: new SimNetwork(this.world) })
    Object.assign(this.host.disk.faults, { latencyMinMs: 1, latencyMaxMs: 1 })
    this.promises = new LogPromises(this.host, this.marks)
  }

  async start(): Promise<void> {
    this.log = null
    this.host.start((env) => void this.#open(env))
    await this.world.run({ until: () => this.log !== null })
  }

  async #open(env: Env): Promise<void> {
    const sizes = { segmentBytes: 64 * KIB, batchBytesMax: 16 * KIB, entryBytesMax: 8 * KIB }
    const log = await RaftLog.open(env, SILENT, 'log', raftLogConfig(sizes, this.#bugs))
    this.usable = this.promises.opened(log)
    this.log = log
  }

  async write(write: Omit<GroupWrite, 'group'>): Promise<void> {
    let done = false
    this.log?.append({ group: 1, ...write }, () => {
      done = true
    })
    await this.world.run({ until: () => done })
  }

  /** A replica with a vote and ten entries, each batch acknowledged. */
  async fill(): Promise<void> {
    await this.start()
    await this.write({ create: { replica: REPLICA, epoch: 1 }, mark: MARK, restart: true })
    await this.write({ hardState: { term: 2, vote: REPLICA, commit: 0 } })
    for (let index = 2; index <= 30; index++) await this.write({ entries: [entry(index)] })
  }
}

describe('promises of a log', () => {
  it('are kept over a loss of power, and known to those who count', async () => {
    const host = new LogHost()
    await host.fill()
    expect(host.marks.of(1, REPLICA)).toEqual({ term: 2, lastIndex: 30 })
    expect(host.marks.of(1, 6)).toEqual({ term: 0, lastIndex: 0 })
    host.host.powerLoss()
    await host.start()
    expect(host.usable).toBe(true)
    expect(host.log?.group(1).lastIndex()).toBe(30)
    await host.write({ destroy: { epoch: 2 } })
    host.host.powerLoss()
    await host.start()
    expect(host.usable).toBe(true)
  })

  it('are broken by a log that acknowledges before it has synced', async () => {
    const host = new LogHost(['ack-before-sync'])
    await host.fill()
    host.host.powerLoss()
    await expect(host.start()).rejects.toThrow('entry 30 is gone; the last one is 29')
  })

  it('are not expected of a disk that was replaced', async () => {
    const host = new LogHost()
    await host.fill()
    host.host.powerLoss()
    host.host.replaceDisk()
    await host.start()
    expect(host.usable).toBe(true)
    expect(host.log?.groupIds()).toEqual([])
  })

  it('may lose their newest batch to a disk that lies, and nobody blames the log', async () => {
    const host = new LogHost()
    await host.fill()
    host.host.diskLies = true
    host.host.disk.faults.restFlipChance = 1
    await host.write({ entries: [entry(31)] })
    host.host.disk.faults.restFlipChance = 0
    host.host.powerLoss()
    await host.start()
    expect(host.usable).toBe(false)
  })

  it('do not hide a log that cuts off what is damaged in its middle', async () => {
    const damage = async (bugs: readonly RaftLogBug[]): Promise<LogHost> => {
      const host = new LogHost(bugs)
      await host.start()
      await host.write({ create: { replica: REPLICA, epoch: 1 }, mark: MARK, restart: true })
      host.host.diskLies = true
      host.host.disk.faults.restFlipChance = 1
      await host.write({ entries: [entry(2)] })
      host.host.disk.faults.restFlipChance = 0
      for (let index = 3; index <= 30; index++) await host.write({ entries: [entry(index)] })
      host.host.powerLoss()
      return host
    }
    const honest = await damage([])
    await honest.start()
    expect(honest.usable).toBe(true)
    expect(honest.log?.condition).toBe('corrupt')
    const cutting = await damage(['truncate-at-corruption'])
    await expect(cutting.start()).rejects.toThrow('the log has lost what it had promised')
  })

  it('find damage that nobody has done', async () => {
    const host = new LogHost()
    await host.fill()
    host.host.disk.faults.restFlipChance = 1
    await host.write({ entries: [entry(31)] })
    host.host.disk.faults.restFlipChance = 0
    await host.write({ entries: [entry(32)] })
    host.host.powerLoss()
    await expect(host.start()).rejects.toThrow('damaged by nobody')
  })
})
