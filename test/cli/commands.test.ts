import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LemnisError } from '../../src/base/errors.ts'
import { runProgram } from '../../src/bin/cli/run-program.ts'
import { makeLemnis } from '../../src/bin/commands/all.ts'
import { LIST_CHUNKS, REPAIR_CHUNK } from '../../src/format/control/chunkserver.ts'
import {
  CREATE_VOLUME,
  DELETE_VOLUME,
  LIST_COPYSETS,
  SHOW_VOLUME,
  STATUS,
  type Status,
} from '../../src/format/control/mds.ts'
import type { Volume } from '../../src/format/control/parts.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { rpcConfig } from '../../src/rpc/config.ts'
import { serveControl } from '../../src/rpc/control.ts'
import { RpcServer } from '../../src/rpc/server.ts'

const VOLUME: Volume = {
  id: 3,
  name: 'disk1',
  sizeBytes: 10 * 1024 ** 3,
  stripeUnitBytes: 0,
  stripeCount: 1,
  pool: 'default',
  state: 'ready',
  sn: 1,
  epoch: 4,
  iopsMax: 0,
  bytesPerSecondMax: 0,
  createdMs: 1,
  segmentsAllocated: 2,
}

const STATUS_REPLY: Status = {
  clusterId: 'c1',
  version: '0.1.0',
  health: { state: 'error', reasons: ['A copyset has no quorum.'] },
  chunkservers: { online: 2, unstable: 0, offline: 1 },
  copysets: { total: 12, ok: 11, degraded: 0, broken: 1, moving: 0 },
  volumes: 1,
  deletedVolumes: 0,
  capacityBytes: 3 * 1024 ** 4,
  usedBytes: 1024 ** 4,
  moving: [],
}

let server: RpcServer
let out: string
let err: string
const asked: unknown[] = []

beforeEach(async () => {
  server = await RpcServer.listen(nodeEnv('/'), SILENT, '127.0.0.1:0', rpcConfig(), 'mds')
  asked.length = 0
  out = ''
  err = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true))
})
afterEach(async () => {
  vi.restoreAllMocks()
  process.exitCode = undefined
  await server.close()
})

/** Runs a command line against the server; the exit code. */
async function lemnis(...words: string[]): Promise<number> {
  process.exitCode = undefined
  const all = ['--mds', server.address, ...words]
  await runProgram(await makeLemnis(all), all)
  return Number(process.exitCode ?? 0)
}

describe('lemnis volume', () => {
  it('creates with sizes as people write them', async () => {
    serveControl(server, CREATE_VOLUME, (request) => (asked.push(request), VOLUME))
    const words = ['--size', '10GiB', '--stripe-count', '4', '--iops', '500', '--bps', '1MiB']
    expect(await lemnis('volume', 'create', 'disk1', ...words)).toBe(0)
    expect(asked).toEqual([
      {
        name: 'disk1',
        sizeBytes: 10 * 1024 ** 3,
        stripeUnitBytes: 65_536,
        stripeCount: 4,
        iopsMax: 500,
        bytesPerSecondMax: 1024 ** 2,
      },
    ])
    expect(out).toBe('disk1: 10 GiB, created.\n')
  })

  it('shows one as text and as JSON', async () => {
    serveControl(server, SHOW_VOLUME, () => VOLUME)
    expect(await lemnis('volume', 'show', 'disk1')).toBe(0)
    expect(out).toMatch(/^allocated +2 GiB, 20.0 %$/m)
    out = ''
    expect(await lemnis('volume', 'show', 'disk1', '--json')).toBe(0)
    expect(JSON.parse(out)).toEqual(VOLUME)
  })

  it('passes on why the MDS refuses', async () => {
    serveControl(server, DELETE_VOLUME, () => {
      throw new LemnisError('IN_USE', { holder: 'nbd on host7' })
    })
    expect(await lemnis('volume', 'delete', 'disk1')).toBe(1)
    expect(err).toMatch(/Another client.*\n.*nbd on host7/)
  })
})

describe('lemnis status', () => {
  it('fails when data can not be served, and says why', async () => {
    serveControl(server, STATUS, () => STATUS_REPLY)
    expect(await lemnis('status')).toBe(1)
    expect(out).toMatch(/^chunkservers +2 online, 1 offline$/m)
    expect(out).toMatch(/^copysets +11 ok, 1 broken$/m)
    expect(out).toContain('A copyset has no quorum.')
  })

  it('asks the next metadata server when one is not there', async () => {
    serveControl(server, STATUS, () => STATUS_REPLY)
    expect(await lemnis('status', '--mds', `127.0.0.1:1,${server.address}`)).toBe(1)
    expect(out).toContain('cluster')
  })

  it('says how to start one when none is there', async () => {
    expect(await lemnis('status', '--mds', '127.0.0.1:1')).toBe(1)
    expect(err).toMatch(/127\.0\.0\.1:1 could not be asked.*\n.*lemnis dev/)
  })
})

describe('the command line', () => {
  it('suggests the nearest command, and explains itself', async () => {
    expect(await lemnis('statsu')).toBe(2)
    expect(err).toContain('Did you mean status?')
    expect(await lemnis('volume', 'create', '--help')).toBe(0)
    expect(out).toContain('$ lemnis volume create disk1 --size 10GiB')
  })

  it('refuses a size without unit before anything is asked', async () => {
    expect(await lemnis('volume', 'create', 'disk1', '--size', '10')).toBe(2)
    expect(err).toMatch(/KiB/)
  })

  it('has an example in the help of every command', async () => {
    const leaves = (await makeLemnis()).commands.flatMap((one) =>
      one.commands.length > 0 ? one.commands : [one],
    )
    for (const leaf of leaves.filter((one) => !/^(attach-host|help)$/.test(one.name()))) {
      let help = ''
      leaf.configureOutput({ writeOut: (text) => void (help += text) }).outputHelp()
      expect(help, leaf.name()).toContain('Example:\n  $ lemnis ')
    }
  })
})

describe('lemnis copyset check', () => {
  const member = (chunkserver: number) => ({
    replica: chunkserver,
    chunkserver,
    zone: 'z',
    address: server.address,
  })
  const serveReplicas = (digests: readonly number[]): void => {
    const copyset = {
      id: 7,
      pool: 'default',
      epoch: 1,
      leader: 1,
      term: 2,
      candidates: [],
      chunks: 1,
      usedBytes: 4096,
    }
    const members = digests.map((_, i) => member(i + 1))
    serveControl(server, LIST_COPYSETS, () => ({
      copysets: [{ ...copyset, health: 'ok' as const, members }],
    }))
    let asks = 0
    serveControl(server, LIST_CHUNKS, () => {
      const digest = digests[asks++ % digests.length] as number
      return {
        appliedIndex: 9,
        chunks: [{ chunk: 64, version: 5, digest, usedBytes: 4096, badBlocks: 0 }],
      }
    })
  }

  it('is content with equal replicas', async () => {
    serveReplicas([8, 8, 8])
    expect(await lemnis('copyset', 'check')).toBe(0)
    expect(out).toBe('1 copyset, 1 chunk: all replicas are equal.\n')
  })

  it('tells which differ, and fails', async () => {
    serveReplicas([8, 8, 9])
    expect(await lemnis('copyset', 'check', '7')).toBe(1)
    expect(out).toMatch(/^ +7 +64 +differs .*3: version 5 digest 9$/m)
  })

  it('has the one repaired that the others outvote', async () => {
    serveReplicas([8, 8, 9])
    serveControl(
      server,
      REPAIR_CHUNK,
      (request) => (asked.push(request), { badBlocks: 1, repairedBlocks: 1 }),
    )
    expect(await lemnis('copyset', 'check', '--repair')).toBe(1)
    expect(asked).toEqual([{ group: 7, chunk: 64 }])
  })
})
