// Owns the record of what clients asked and were told, on registers named by keys. Order is the order
// of calls and answers in the one thread of the run, finer than virtual time. An operation that never
// got an answer stays open: it may have taken effect at any time after its call, or never.

import { assert } from '../base/assert.ts'

/** What a register holds; null for nothing. */
export type RegisterValue = string | null

export type OperationKind = 'read' | 'write' | 'cas'

export interface Operation {
  readonly client: number
  readonly key: string
  readonly kind: OperationKind
  /** Of write and cas: the new value. */
  readonly value: RegisterValue
  /** Of cas: what must be there. */
  readonly expected: RegisterValue
  readonly invoked: number
  readonly invokedAtUs: number
  /** Infinity while the outcome is unknown. */
  returned: number
  returnedAtUs: number
  /** Of a read that returned. */
  output: RegisterValue
  /** Of a cas that returned: whether it took effect. */
  swapped: boolean
}

export class History {
  readonly #nowUs: () => number
  readonly #operations: Operation[] = []
  #order = 0

  constructor(nowUs: () => number) {
    this.#nowUs = nowUs
  }

  get operations(): readonly Operation[] {
    return this.#operations
  }

  invoke(
    client: number,
    key: string,
    kind: OperationKind,
    value: RegisterValue = null,
    expected: RegisterValue = null,
  ): Operation {
    const operation: Operation = {
      client,
      key,
      kind,
      value,
      expected,
      invoked: this.#order++,
      invokedAtUs: this.#nowUs(),
      returned: Number.POSITIVE_INFINITY,
      returnedAtUs: Number.POSITIVE_INFINITY,
      output: null,
      swapped: false,
    }
    this.#operations.push(operation)
    return operation
  }

  returnRead(operation: Operation, output: RegisterValue): void {
    operation.output = output
    this.#return(operation)
  }

  returnWrite(operation: Operation): void {
    this.#return(operation)
  }

  returnCas(operation: Operation, swapped: boolean): void {
    operation.swapped = swapped
    this.#return(operation)
  }

  /** It certainly did nothing and never will. */
  refuse(operation: Operation): void {
    assert(operation.returned === Number.POSITIVE_INFINITY, 'an operation ends once')
    const at = this.#operations.lastIndexOf(operation)
    assert(at >= 0, 'a refused operation is of this history')
    this.#operations.splice(at, 1)
  }

  #return(operation: Operation): void {
    assert(operation.returned === Number.POSITIVE_INFINITY, 'an operation ends once')
    operation.returned = this.#order++
    operation.returnedAtUs = this.#nowUs()
  }
}

/** `client 2    1.203000 -    1.204511  cas x3 to x9: swapped` */
export function describeOperation(operation: Operation): string {
  const { client, kind, value, expected } = operation
  const open = operation.returned === Number.POSITIVE_INFINITY
  const from = seconds(operation.invokedAtUs)
  const to = open ? 'unknown'.padStart(12) : seconds(operation.returnedAtUs)
  let what = `${kind} ${value ?? 'nothing'}`
  if (kind === 'read') what = open ? 'read' : `read: ${operation.output ?? 'nothing'}`
  if (kind === 'cas') {
    const outcome = open ? '' : operation.swapped ? ': swapped' : ': refused'
    what = `cas ${expected ?? 'nothing'} to ${value ?? 'nothing'}${outcome}`
  }
  return `client ${String(client).padEnd(3)} ${from} - ${to}  ${what}`
}

function seconds(us: number): string {
  return (us / 1_000_000).toFixed(6).padStart(12)
}
