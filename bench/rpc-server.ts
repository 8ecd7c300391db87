// The server of the RPC bench as a process of its own. Tells its address to the parent that forked
// it, and ends with it.

import { tmpdir } from 'node:os'
import { EMPTY, viewOf } from '../src/base/bytes.ts'
import { SILENT } from '../src/observe/observe.ts'
import { nodeEnv } from '../src/platform/env.ts'
import { rpcConfig } from '../src/rpc/config.ts'
import { RpcServer } from '../src/rpc/server.ts'
import { BENCH_METHODS } from './rpc-methods.ts'

const env = nodeEnv(tmpdir())
const server = await RpcServer.listen(env, SILENT, '127.0.0.1:0', rpcConfig(), 'bench')
const stored = new Uint8Array(65_536).fill(7)

server.handle(BENCH_METHODS.TAKE, (call) => call.reply(EMPTY))
// The CRC is computed for every answer, as if the block had just come from a disk.
server.handle(BENCH_METHODS.GIVE, (call) =>
  call.reply(EMPTY, stored.subarray(0, viewOf(call.body).getUint32(0, true))),
)

process.on('disconnect', () => process.exit(0))
process.send?.({ address: server.address })
