// Owns the renewal of a lease in etcd, whose API has only a stream for it: one request and its answer.

import type { ServiceError } from '@grpc/grpc-js'
import { LemnisError } from '../base/errors.ts'
import { isTokenError } from './etcd-errors.ts'
import type { EtcdMembers, Member } from './etcd-members.ts'
import { LEASE_KEEP_ALIVE } from './etcd-schema.ts'
import { promised } from './promised.ts'
import type { Message } from './protobuf.ts'

/** Seconds that the lease lasts from now on; 0 when it has ended. One attempt at one member. */
export function keepAlive(
  members: EtcdMembers,
  member: Member,
  id: number,
  timeoutMs: number,
): Promise<number> {
  return members.timed(member, LEASE_KEEP_ALIVE, async () => {
    const calls = await members.stream(member, LEASE_KEEP_ALIVE, Date.now() + timeoutMs)
    const { promise, resolve, reject } = promised<number>()
    const detail = { what: 'etcd', member: member.endpoint }
    const giveUp = (): void => reject(new LemnisError('DEADLINE_EXCEEDED', detail))
    const timer = setTimeout(giveUp, timeoutMs)
    calls.on('data', ({ ttlSeconds }: Message<typeof LEASE_KEEP_ALIVE.answer>) =>
      resolve(ttlSeconds),
    )
    calls.on('error', (error: ServiceError) => {
      if (isTokenError(error)) {
        members.forgetToken()
        reject(new LemnisError('DISCONNECTED', { ...detail, reason: error.details }, error))
      } else reject(error)
    })
    calls.on('end', () => reject(new LemnisError('DISCONNECTED', detail)))
    calls.write({ id })
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      calls.cancel()
    }
  })
}
