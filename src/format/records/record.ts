// Owns how records of the metadata store are written: JSON of a checked shape. Unknown members are
// ignored, so fields are only ever added, as optional ones. A record that does not have its shape is
// CORRUPT with its key: the MDS does not start on it, and nothing is overwritten.

import { LemnisError } from '../../base/errors.ts'
import type { Static, TSchema } from '../schema.ts'

export function encodeRecord<S extends TSchema>(_schema: S, value: Static<S>): string {
  return JSON.stringify(value)
}

export function decodeRecord<S extends TSchema>(
  schema: S,
  item: { readonly key: string; readonly value: string },
): Static<S> {
  let value: unknown
  try {
    value = JSON.parse(item.value)
  } catch {
    throw new LemnisError('CORRUPT', { record: item.key, reason: 'not JSON' })
  }
  const fault = schema.fault(value)
  if (fault === null) return value
  throw new LemnisError('CORRUPT', {
    record: item.key,
    member: fault.path,
    reason: fault.reason,
  })
}
