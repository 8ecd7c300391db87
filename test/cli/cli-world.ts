// Owns a server on loopback that commands of the CLI ask instead of a cluster, and what they print.

import { type AddressInfo, createServer } from 'node:net'
import { vi } from 'vitest'
import { runProgram } from '../../src/bin/cli/run-program.ts'
import { makeLemnis } from '../../src/bin/commands/all.ts'
import type { Chunkserver } from '../../src/format/control/parts.ts'
import { NO_SCRUB } from '../../src/format/control/parts.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { rpcConfig } from '../../src/rpc/config.ts'
import { RpcServer } from '../../src/rpc/server.ts'

export class CliWorld {
  readonly server: RpcServer
  out = ''
  err = ''

  private constructor(server: RpcServer) {
    this.server = server
    vi.spyOn(process.stdout, 'write').mockImplementation(
      (text) => ((this.out += String(text)), true),
    )
    vi.spyOn(process.stderr, 'write').mockImplementation(
      (text) => ((this.err += String(text)), true),
    )
  }

  static async start(): Promise<CliWorld> {
    return new CliWorld(
      await RpcServer.listen(nodeEnv('/'), SILENT, '127.0.0.1:0', rpcConfig(), 'mds'),
    )
  }

  /** Runs a command line against the server; the exit code. What it prints is in `out` and `err`. */
  async lemnis(...words: string[]): Promise<number> {
    this.out = ''
    this.err = ''
    process.exitCode = undefined
    const all = ['--mds', this.server.address, ...words]
    await runProgram(await makeLemnis(all), all)
    return Number(process.exitCode ?? 0)
  }

  async close(): Promise<void> {
    vi.restoreAllMocks()
    process.exitCode = undefined
    await this.server.close()
  }
}

/** An address where somebody listened until a moment ago. */
export async function nobodysPort(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return `127.0.0.1:${port}`
}

/** One that is well, on a machine of its own. */
export function aChunkserver(id: number, changes: Partial<Chunkserver> = {}): Chunkserver {
  return {
    id,
    address: `127.0.0.1:${7400 + id}`,
    httpAddress: '',
    pool: 'default',
    zone: `zone-${id}`,
    server: `host${id}`,
    state: 'online',
    lastHeartbeatMs: Date.now(),
    version: '0.1.0',
    disk: {
      capacityBytes: 1000,
      usedBytes: 10,
      state: 'ok',
      errors: 0,
      badBlocks: 0,
      repairedBlocks: 0,
      writeP99Us: 900,
    },
    io: { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 },
    scrub: NO_SCRUB,
    copysets: 4,
    leaders: 1,
    damaged: 0,
    scatterWidth: 2,
    ...changes,
  }
}
