// Owns the order of things to come: a binary heap by virtual time, then by the order of scheduling.
// Invariant: two events never compare equal, so the order is the same on every run.
// Cancelled events stay until they surface or until they are the greater part, then they are swept.

export interface SimEvent {
  atUs: number
  /** The order of scheduling; breaks ties of time. */
  sequence: number
  readonly label: string
  readonly actor: Actor | null
  readonly generation: number
  readonly fire: () => void
  state: 'waiting' | 'deferred' | 'cancelled' | 'done'
}

/** Something whose events stop when it dies and wait while it is paused: a process of a host. */
export interface Actor {
  readonly name: string
  /** Events that were scheduled under another generation are dropped. */
  readonly generation: number
  readonly paused: boolean
  /** Takes an event that came due during a pause. */
  defer(event: SimEvent): void
}

/** Below this a sweep would cost more than the few dead entries do. */
const SWEEP_MIN = 1024

function before(a: SimEvent, b: SimEvent): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.sequence < b.sequence)
}

export class EventQueue {
  #heap: SimEvent[] = []
  #cancelledCount = 0

  get count(): number {
    return this.#heap.length - this.#cancelledCount
  }

  push(event: SimEvent): void {
    this.#heap.push(event)
    this.#siftUp(this.#heap.length - 1)
  }

  /** The next event that was not cancelled; undefined when there is none. */
  pop(): SimEvent | undefined {
    for (let event = this.#popAny(); event !== undefined; event = this.#popAny()) {
      if (event.state === 'waiting') return event
      this.#cancelledCount--
    }
    return undefined
  }

  /** When the next event is due; Infinity when there is none. */
  nextAtUs(): number {
    let first = this.#heap[0]
    while (first !== undefined && first.state !== 'waiting') {
      this.#popAny()
      this.#cancelledCount--
      first = this.#heap[0]
    }
    return first === undefined ? Number.POSITIVE_INFINITY : first.atUs
  }

  cancel(event: SimEvent): void {
    if (event.state === 'waiting') {
      event.state = 'cancelled'
      this.#cancelledCount++
      if (this.#cancelledCount > SWEEP_MIN && this.#cancelledCount * 2 > this.#heap.length) {
        this.#sweep()
      }
    } else if (event.state === 'deferred') event.state = 'cancelled'
  }

  #sweep(): void {
    this.#heap = this.#heap.filter((event) => event.state === 'waiting')
    this.#cancelledCount = 0
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#siftDown(at)
  }

  #popAny(): SimEvent | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    heap[0] = last
    this.#siftDown(0)
    return first
  }

  #siftUp(start: number): void {
    const heap = this.#heap
    const event = heap[start] as SimEvent
    let at = start
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as SimEvent
      if (!before(event, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  #siftDown(start: number): void {
    const heap = this.#heap
    const event = heap[start] as SimEvent
    const count = heap.length
    let at = start
    for (;;) {
      let child = 2 * at + 1
      if (child >= count) break
      const right = heap[child + 1]
      if (right !== undefined && before(right, heap[child] as SimEvent)) child++
      const below = heap[child] as SimEvent
      if (!before(below, event)) break
      heap[at] = below
      at = child
    }
    heap[at] = event
  }
}
