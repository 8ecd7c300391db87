// Owns how records of the metadata store are written: JSON of a checked shape. Unknown members are
// ignored, so fields are only ever added, as optional ones. A record that does not have its shape is
// CORRUPT with its key: the MDS does not start on it, and nothing is overwritten.

import type { Static, TSchema } from 'typebox'
import { Check, Errors } from 'typebox/value'
import { LemnisError } from '../../base/errors.ts'

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
  if (Check(schema, value)) return value
  const [first] = Errors(schema, value)
  throw new LemnisError('CORRUPT', {
    record: item.key,
    member: first?.instancePath ?? '',
    reason: first?.message ?? 'does not match',
  })
}
