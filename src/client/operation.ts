// Owns one read, write or zeroing of a volume from its call to its end: it waits to be admitted, runs,
// and tells both its caller and its volume, each once and in this order: a flush ends after them.

import { EMPTY } from '../base/bytes.ts'
import type { LemnisError } from '../base/errors.ts'
import type { Entrant } from './admission.ts'

export type OperationKind = 'read' | 'write' | 'zero'

export interface OperationOwner {
  run(operation: Operation): void
  left(operation: Operation, error: LemnisError | null, wasAdmitted: boolean): void
}

export class Operation implements Entrant {
  readonly kind: OperationKind
  readonly offset: number
  readonly length: number
  /** What to write; else empty. */
  readonly payload: Uint8Array
  readonly startedMs: number
  readonly #owner: OperationOwner
  readonly #done: (error: LemnisError | null, bytes: Uint8Array) => void

  constructor(
    owner: OperationOwner,
    kind: OperationKind,
    offset: number,
    length: number,
    payload: Uint8Array,
    startedMs: number,
    done: (error: LemnisError | null, bytes: Uint8Array) => void,
  ) {
    this.#owner = owner
    this.kind = kind
    this.offset = offset
    this.length = length
    this.payload = payload
    this.startedMs = startedMs
    this.#done = done
  }

  /** Zeroing carries nothing, however long it is. */
  get bytes(): number {
    return this.kind === 'zero' ? 0 : this.length
  }

  admitted(): void {
    this.#owner.run(this)
  }

  refused(error: LemnisError): void {
    this.#done(error, EMPTY)
    this.#owner.left(this, error, false)
  }

  over(error: LemnisError | null, bytes: Uint8Array): void {
    this.#done(error, bytes)
    this.#owner.left(this, error, true)
  }
}
