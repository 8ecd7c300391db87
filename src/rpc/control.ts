// Owns the carrying of control calls (format/control) over RPC: JSON bodies checked on both sides.

import { asLemnisError } from '../base/errors.ts'
import {
  type ControlCall,
  decodeControl,
  encodeControl,
  type ReplyOf,
  type RequestOf,
} from '../format/control/call.ts'
import type { RpcClient } from './client.ts'
import type { IncomingCall } from './incoming.ts'
import type { RpcServer } from './server.ts'

/** Answers `call` with what `work` resolves to; a LemnisError that it throws is the answer. */
export function serveControl<C extends ControlCall>(
  server: RpcServer,
  call: C,
  work: (request: RequestOf<C>, peerName: string) => Promise<ReplyOf<C>> | ReplyOf<C>,
): void {
  const handler = (incoming: IncomingCall): void => {
    const request = decodeControl(call.request, incoming.body) as RequestOf<C>
    Promise.resolve()
      .then(() => work(request, incoming.peerName))
      .then(
        (reply) => incoming.reply(encodeControl(reply)),
        (error: unknown) => incoming.fail(asLemnisError(error)),
      )
  }
  server.handle(call.method, handler, call.name)
}

export async function askControl<C extends ControlCall>(
  client: RpcClient,
  call: C,
  request: RequestOf<C>,
  budgetMs: number,
): Promise<ReplyOf<C>> {
  const reply = await client.callAsync(call.method, encodeControl(request), null, budgetMs)
  return decodeControl(call.reply, reply.body) as ReplyOf<C>
}
