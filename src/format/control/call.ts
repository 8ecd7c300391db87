// Owns what a control call is: a method number with the schemas of its JSON request and reply. Unknown
// members are ignored, so that a newer side may say more; a missing or ill-typed one is refused.

import { LemnisError } from '../../base/errors.ts'
import type { Static, TSchema } from '../schema.ts'

export interface ControlCall<Q extends TSchema = TSchema, A extends TSchema = TSchema> {
  /** For messages and metrics. */
  readonly name: string
  readonly method: number
  readonly request: Q
  readonly reply: A
}

export type RequestOf<C extends ControlCall> = Static<C['request']>
export type ReplyOf<C extends ControlCall> = Static<C['reply']>

export function controlCall<Q extends TSchema, A extends TSchema>(
  name: string,
  method: number,
  request: Q,
  reply: A,
): ControlCall<Q, A> {
  return { name, method, request, reply }
}

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true })

export function encodeControl(value: unknown): Uint8Array {
  return ENCODER.encode(JSON.stringify(value))
}

/** The value in `bytes`, checked; INVALID_ARGUMENT names the first member that is wrong. */
export function decodeControl<S extends TSchema>(schema: S, bytes: Uint8Array): Static<S> {
  let value: unknown
  try {
    value = JSON.parse(DECODER.decode(bytes))
  } catch {
    throw new LemnisError('INVALID_ARGUMENT', { reason: 'not JSON' })
  }
  const fault = schema.fault(value)
  if (fault === null) return value
  throw new LemnisError('INVALID_ARGUMENT', {
    member: fault.path,
    reason: fault.reason,
  })
}
