import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { etcdErrorOf, isLost } from './etcd-errors.ts'

function statusError(code: status, details: string): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata: new Metadata() })
}

describe('an error of etcd', () => {
  it('is taken for a refusal only where nothing can have happened', () => {
    const codeOf = (code: status, details: string): string =>
      etcdErrorOf(statusError(code, details), 'm').code
    const { RESOURCE_EXHAUSTED, INVALID_ARGUMENT } = status
    expect(codeOf(RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded')).toBe('NO_SPACE')
    expect(codeOf(INVALID_ARGUMENT, 'etcdserver: request is too large')).toBe('INVALID_ARGUMENT')
    const large = 'grpc: received message larger than max (5 vs. 4)'
    expect(codeOf(RESOURCE_EXHAUSTED, large)).toBe('INVALID_ARGUMENT')
    // The connection was ended under the call (HTTP/2 ENHANCE_YOUR_CALM): it may have been done.
    for (const details of [
      'Bandwidth exhausted or memory limit exceeded',
      'etcdserver: too many requests',
    ]) {
      expect(isLost(etcdErrorOf(statusError(RESOURCE_EXHAUSTED, details), 'm'))).toBe(true)
    }
  })
})
