// Owns the judgement of histories of registers: whether each operation could have taken effect at one
// moment between call and answer. Search of Wing and Gong with the memory of Lowe ("Testing for
// linearizability", 2017): depth first over which operation comes next; a set of operations done and
// a value reached is tried once. Keys are judged one by one, which is sound for linearizability.
// Invariant: 'linearizable' and 'violation' are proofs; when memory ends the verdict is 'gave up'.

import { describeOperation, type Operation, type RegisterValue } from './history.ts'

export type Verdict =
  | { readonly verdict: 'linearizable' }
  | { readonly verdict: 'gave up'; readonly key: string; readonly explored: number }
  | {
      readonly verdict: 'violation'
      readonly key: string
      /** As few operations as were found that contradict each other whatever came before. */
      readonly window: readonly Operation[]
      readonly text: string
    }

export interface CheckLimits {
  /** States remembered for one key. */
  readonly exploredMax?: number
}

const EXPLORED_MAX = 500_000

/** Windows tried when a violation is cut to size. */
const WINDOWS_MAX = 300

type Outcome = 'linearizable' | 'violation' | 'gave up'

/** An operation as the search sees it; one without `returned` may be left out. */
interface Step {
  readonly kind: Operation['kind']
  readonly value: RegisterValue
  readonly expected: RegisterValue
  readonly output: RegisterValue
  readonly swapped: boolean
  readonly invoked: number
  readonly returned: number
}

export function checkHistory(operations: readonly Operation[], limits: CheckLimits = {}): Verdict {
  const exploredMax = limits.exploredMax ?? EXPLORED_MAX
  const byKey = new Map<string, Operation[]>()
  for (const operation of operations) {
    const sameKey = byKey.get(operation.key)
    if (sameKey === undefined) byKey.set(operation.key, [operation])
    else sameKey.push(operation)
  }
  let gaveUp: Verdict | null = null
  for (const [key, ofKey] of byKey) {
    const search = new Search(ofKey, null, exploredMax)
    const outcome = search.run()
    if (outcome === 'violation') {
      const window = smallestWindow(ofKey, exploredMax)
      const lines = window.map(describeOperation)
      return { verdict: 'violation', key, window, text: [`key ${key}:`, ...lines].join('\n') }
    }
    if (outcome === 'gave up') gaveUp ??= { verdict: 'gave up', key, explored: search.explored }
  }
  return gaveUp ?? { verdict: 'linearizable' }
}

/** What the register holds after `step`, or undefined when it can't happen now. */
function after(value: RegisterValue, step: Step): RegisterValue | undefined {
  switch (step.kind) {
    case 'read':
      return value === step.output ? value : undefined
    case 'write':
      return step.value
    case 'cas': {
      const matches = value === step.expected
      // Of an unknown outcome only the effect is of interest: without it the step is left out.
      if (step.returned === Number.POSITIVE_INFINITY || step.swapped) {
        return matches ? step.value : undefined
      }
      return matches ? undefined : value
    }
  }
}

/** A call or an answer in the list of those not yet passed. */
interface Node {
  readonly step: Step
  readonly place: number
  readonly isReturn: boolean
  /** Of a call: its answer; null when there is none. */
  answer: Node | null
  previous: Node | null
  next: Node | null
}

class Search {
  readonly #first: RegisterValue
  readonly #exploredMax: number
  readonly #known: Step[]
  readonly #open: Step[]
  readonly #knownDone: Uint8Array
  readonly #openDone: Uint8Array
  readonly #seen = new Set<string>()
  readonly #values = new Map<RegisterValue, number>()
  readonly #head: Node
  #firstNotDone = 0
  #knownLeft: number

  constructor(steps: readonly Step[], first: RegisterValue, exploredMax: number) {
    this.#first = first
    this.#exploredMax = exploredMax
    const ordered = [...steps].sort((a, b) => a.invoked - b.invoked)
    this.#known = ordered.filter((step) => step.returned !== Number.POSITIVE_INFINITY)
    this.#open = relevant(ordered, this.#known)
    this.#knownDone = new Uint8Array(this.#known.length)
    this.#openDone = new Uint8Array(this.#open.length)
    this.#knownLeft = this.#known.length
    this.#head = makeList(this.#known, this.#open)
  }

  get explored(): number {
    return this.#seen.size
  }

  run(): Outcome {
    const stack: { node: Node; value: RegisterValue }[] = []
    let value = this.#first
    let node = this.#head.next
    while (this.#knownLeft > 0 && node !== null) {
      if (!node.isReturn) {
        const next = after(value, node.step)
        if (next !== undefined) {
          this.#mark(node, 1)
          if (this.#isNew(next)) {
            if (this.#seen.size > this.#exploredMax) return 'gave up'
            stack.push({ node, value })
            value = next
            unlink(node)
            node = this.#head.next
            continue
          }
          this.#mark(node, 0)
        }
        node = node.next
        continue
      }
      // Somebody has his answer already, and nothing here can come before it: one choice back.
      const last = stack.pop()
      if (last === undefined) return 'violation'
      value = last.value
      this.#mark(last.node, 0)
      relink(last.node)
      node = last.node.next
    }
    return 'linearizable'
  }

  #mark(node: Node, done: 0 | 1): void {
    if (node.answer === null) {
      this.#openDone[node.place] = done
      return
    }
    this.#knownDone[node.place] = done
    this.#knownLeft += done === 1 ? -1 : 1
    if (done === 0) this.#firstNotDone = Math.min(this.#firstNotDone, node.place)
    while (this.#knownDone[this.#firstNotDone] === 1) this.#firstNotDone++
  }

  /** Done is everything before the first that is not, and some that overlap that one. */
  #isNew(value: RegisterValue): boolean {
    let valueId = this.#values.get(value)
    if (valueId === undefined) {
      valueId = this.#values.size
      this.#values.set(value, valueId)
    }
    const first = this.#firstNotDone
    let key = `${valueId},${first}`
    const end = this.#known[first]?.returned ?? 0
    for (let i = first + 1; i < this.#known.length; i++) {
      if ((this.#known[i] as Step).invoked > end) break
      if (this.#knownDone[i] === 1) key += `,${i - first}`
    }
    for (let i = 0; i < this.#openDone.length; i++) if (this.#openDone[i] === 1) key += `;${i}`
    if (this.#seen.has(key)) return false
    this.#seen.add(key)
    return true
  }
}

/**
 * The open steps that can matter: reads never do; a new value that no answer speaks of matters only
 * where a refused cas needs some other value to be there.
 */
function relevant(ordered: readonly Step[], known: readonly Step[]): Step[] {
  const spokenOf = new Set<RegisterValue>()
  let anyRefused = false
  for (const step of ordered) if (step.kind === 'cas') spokenOf.add(step.expected)
  for (const step of known) {
    if (step.kind === 'read') spokenOf.add(step.output)
    if (step.kind === 'cas' && !step.swapped) anyRefused = true
  }
  return ordered.filter(
    (step) =>
      step.returned === Number.POSITIVE_INFINITY &&
      step.kind !== 'read' &&
      (anyRefused || spokenOf.has(step.value)),
  )
}

function makeList(known: readonly Step[], open: readonly Step[]): Node {
  const nodes: { order: number; node: Node }[] = []
  const make = (step: Step, place: number, isReturn: boolean): Node => {
    const node: Node = { step, place, isReturn, answer: null, previous: null, next: null }
    nodes.push({ order: isReturn ? step.returned : step.invoked, node })
    return node
  }
  for (const [place, step] of known.entries())
    make(step, place, false).answer = make(step, place, true)
  for (const [place, step] of open.entries()) make(step, place, false)
  nodes.sort((a, b) => a.order - b.order)
  const head = make(EMPTY_STEP, 0, false)
  nodes.pop()
  let last = head
  for (const { node } of nodes) {
    last.next = node
    node.previous = last
    last = node
  }
  return head
}

const EMPTY_STEP: Step = {
  kind: 'read',
  value: null,
  expected: null,
  output: null,
  swapped: false,
  invoked: -1,
  returned: -1,
}

function unlink(call: Node): void {
  for (const node of [call, call.answer]) {
    if (node === null) continue
    if (node.previous !== null) node.previous.next = node.next
    if (node.next !== null) node.next.previous = node.previous
  }
}

/** Undoes the last unlink that is not undone. */
function relink(call: Node): void {
  for (const node of [call.answer, call]) {
    if (node === null) continue
    if (node.previous !== null) node.previous.next = node
    if (node.next !== null) node.next.previous = node
  }
}

/**
 * The shortest beginning that can't be, then as little of its end as still can't be, whatever the
 * register held before. Where a search gives up, the larger window is kept.
 */
function smallestWindow(operations: readonly Operation[], exploredMax: number): Operation[] {
  const returns = operations
    .map((operation) => operation.returned)
    .filter((returned) => returned !== Number.POSITIVE_INFINITY)
    .sort((a, b) => a - b)
  let low = 0
  let high = returns.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    const steps = cutAfter(operations, returns[middle] as number)
    if (new Search(steps, null, exploredMax).run() === 'violation') high = middle
    else low = middle + 1
  }
  const end = returns[high] as number
  const prefix = operations.filter((operation) => operation.invoked < end)
  for (let at = high - 1; at >= Math.max(0, high - WINDOWS_MAX); at--) {
    const start = returns[at] as number
    const window = prefix.filter((operation) => operation.returned > start)
    if (contradicts(cutBefore(cutAfter(window, end), start), exploredMax)) return window
  }
  return prefix
}

/** As seen at the moment `end`: what returns later is unknown. */
function cutAfter(operations: readonly Operation[], end: number): Step[] {
  return operations
    .filter((operation) => operation.invoked < end)
    .map((step) => (step.returned <= end ? step : { ...step, returned: Number.POSITIVE_INFINITY }))
}

/** What was under way at `start` may have taken effect before, so it may be left out. */
function cutBefore(steps: readonly Step[], start: number): Step[] {
  return steps.map((step) =>
    step.invoked > start ? step : { ...step, returned: Number.POSITIVE_INFINITY },
  )
}

/** No first value makes them linearizable. */
function contradicts(steps: readonly Step[], exploredMax: number): boolean {
  const values = new Set<RegisterValue>([null, 'a value that nobody names'])
  for (const step of steps) {
    values.add(step.expected)
    values.add(step.output)
  }
  for (const value of values) {
    if (new Search(steps, value, exploredMax).run() !== 'violation') return false
  }
  return true
}
