// Owns what a server counts of each method that it answers: how many calls and how long they took, how
// many failed, and bytes both ways. All of it is asked for when the method is given its handler, so that
// a call costs some additions.

import { METHODS } from '../format/methods.ts'
import type { Counter, Observer, Timing } from '../observe/observe.ts'

/** `chunk.write`, as control calls are named (format/control). */
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(METHODS).map(([name, method]) => [method, name.toLowerCase().replace('_', '.')]),
)

/** Of a method that nobody has named. */
export function methodName(method: number): string {
  return NAMES.get(method) ?? `0x${method.toString(16).padStart(4, '0')}`
}

export class MethodCounts {
  /** Its count is that of the calls. */
  readonly seconds: Timing
  readonly failed: Counter
  readonly receivedBytes: Counter
  readonly sentBytes: Counter

  constructor(observer: Observer, name: string) {
    this.seconds = observer.histogram('rpc_server_seconds', name)
    this.failed = observer.counter('rpc_server_failed_total', name)
    this.receivedBytes = observer.counter('rpc_server_received_bytes_total', name)
    this.sentBytes = observer.counter('rpc_server_sent_bytes_total', name)
  }
}

export class NoteCounts {
  readonly notes: Counter
  readonly receivedBytes: Counter

  constructor(observer: Observer, name: string) {
    this.notes = observer.counter('rpc_server_notes_total', name)
    this.receivedBytes = observer.counter('rpc_server_received_bytes_total', name)
  }
}

/** A method with who answers it. */
export interface Served<Handler, Counts> {
  readonly handler: Handler
  readonly counts: Counts
}
