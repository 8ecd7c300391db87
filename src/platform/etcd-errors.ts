// Owns what the statuses of etcd's calls mean here: what was refused has changed nothing; of what was
// lost nobody knows, and another member may answer it.

import { type ServiceError, status } from '@grpc/grpc-js'
import { LemnisError } from '../base/errors.ts'

export const ETCD_FLAGS = '--max-txn-ops=65536 --max-request-bytes=33554432'

/** Whether another member, or the same one later, may give another answer. */
export function isLost(error: LemnisError): boolean {
  return error.code === 'DISCONNECTED' || error.code === 'DEADLINE_EXCEEDED'
}

/** The token of a user has ended, or is older than the last change of users; a new one is needed. */
export function isTokenError({ code, details }: ServiceError): boolean {
  return code === status.UNAUTHENTICATED || /invalid auth token|auth store is old/.test(details)
}

export function etcdErrorOf(error: ServiceError, member: string): LemnisError {
  const detail = { what: 'etcd', member, reason: error.details || error.message }
  switch (error.code) {
    case status.NOT_FOUND:
      return new LemnisError('NOT_FOUND', detail, error)
    case status.ALREADY_EXISTS:
    case status.FAILED_PRECONDITION:
      return new LemnisError('ALREADY_EXISTS', detail, error)
    case status.INVALID_ARGUMENT:
    case status.RESOURCE_EXHAUSTED:
      return refusalOf(error, detail)
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
      return new LemnisError('INVALID_ARGUMENT', detail, error)
    case status.UNIMPLEMENTED:
      return new LemnisError('VERSION_MISMATCH', detail, error)
    case status.DEADLINE_EXCEEDED:
      return new LemnisError('DEADLINE_EXCEEDED', detail, error)
    default:
      return new LemnisError('DISCONNECTED', detail, error)
  }
}

function refusalOf(
  error: ServiceError,
  detail: { readonly reason: string; readonly member: string; readonly what: string },
): LemnisError {
  const { reason } = detail
  if (reason.includes('database space exceeded')) return new LemnisError('NO_SPACE', detail, error)
  const isTooLarge = /too many operations|too large|larger than max/.test(reason)
  // Also what ends a connection under its calls has this status.
  if (error.code === status.RESOURCE_EXHAUSTED && !isTooLarge) {
    return new LemnisError('DISCONNECTED', detail, error)
  }
  const cure = isTooLarge ? { cure: `start etcd with ${ETCD_FLAGS}` } : {}
  return new LemnisError('INVALID_ARGUMENT', { ...detail, ...cure }, error)
}
