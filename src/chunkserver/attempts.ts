// Owns the answer to a request that came too late to be harmless. A client that has waited long enough
// gives a write up and repeats it; the first one may be stuck in a socket, and must not be applied
// after a later write to the same block. So each repetition carries a higher attempt, and the leader
// refuses what is below the highest it has seen. Only within one term: a leader of a later term refuses
// the old term by itself, and what an earlier leader has proposed lies in the log before.
// Invariant: forgetting makes it stricter, never laxer.

interface Seen {
  /** Of the newest writer. */
  readonly epoch: number
  readonly attempt: number
  /** Of all its writers, the ones before included. */
  readonly highest: number
}

export type AttemptVerdict =
  | { readonly kind: 'ok' }
  /** A newer writer has the volume. */
  | { readonly kind: 'fenced'; readonly epoch: number }
  | { readonly kind: 'stale'; readonly attempt: number }

const OK: AttemptVerdict = { kind: 'ok' }

/** Of one copyset. Most volumes have never given anything up, and take no room. */
export class Attempts {
  readonly #volumesMax: number
  readonly #seen = new Map<number, Seen>()
  #term = 0
  /** Highest attempt of the volumes that were forgotten: nobody may come with less. */
  #floor = 0

  constructor(volumesMax: number) {
    this.#volumesMax = volumesMax
  }

  /** Judges a change that came in `term`, in which this replica leads, and remembers it. */
  judge(term: number, volume: number, epoch: number, attempt: number): AttemptVerdict {
    if (term !== this.#term) {
      this.#term = term
      this.#floor = 0
      this.#seen.clear()
    }
    const seen = this.#seen.get(volume)
    if (seen === undefined || epoch > seen.epoch) {
      // A new writer counts from 0 again: what is stuck of the last one has its epoch against it.
      if (attempt < this.#floor) return { kind: 'stale', attempt: this.#floor }
      if (attempt > 0 || seen !== undefined) this.#remember(volume, epoch, attempt)
      return OK
    }
    if (epoch < seen.epoch) return { kind: 'fenced', epoch: seen.epoch }
    if (attempt < seen.attempt) return { kind: 'stale', attempt: seen.attempt }
    if (attempt > seen.attempt) this.#remember(volume, epoch, attempt)
    return OK
  }

  #remember(volume: number, epoch: number, attempt: number): void {
    const seen = this.#seen.get(volume)
    if (seen === undefined && this.#seen.size >= this.#volumesMax) this.#forgetOldest()
    const highest = Math.max(attempt, seen?.highest ?? 0)
    this.#seen.set(volume, { epoch, attempt, highest })
  }

  #forgetOldest(): void {
    for (const [volume, { highest }] of this.#seen) {
      this.#floor = Math.max(this.#floor, highest)
      this.#seen.delete(volume)
      return
    }
  }
}
