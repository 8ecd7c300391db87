// Owns a value per index where neighbours mostly share it (term, segment): one pair per run instead
// of one number per entry. Indexes are contiguous; the caller knows first and last.

export class Runs {
  #starts: number[] = []
  #values: number[] = []

  append(index: number, value: number): void {
    if (this.#values.at(-1) === value) return
    this.#starts.push(index)
    this.#values.push(value)
  }

  /** The value at an index that was appended and not dropped. */
  at(index: number): number {
    return this.#values[this.#runOf(index)] as number
  }

  /** Forgets `from` and what follows. */
  truncate(from: number): void {
    while (this.#starts.length > 0 && (this.#starts.at(-1) as number) >= from) {
      this.#starts.pop()
      this.#values.pop()
    }
  }

  /** Forgets what lies before `first`. */
  dropBefore(first: number): void {
    if (this.#starts.length === 0 || (this.#starts[0] as number) >= first) return
    const run = this.#runOf(first)
    this.#starts = this.#starts.slice(run)
    this.#values = this.#values.slice(run)
    this.#starts[0] = first
  }

  clear(): void {
    this.#starts = []
    this.#values = []
  }

  /** Where the run of `index` ends: the first index of the next one, Infinity in the last. */
  endOfRun(index: number): number {
    return this.#starts[this.#runOf(index) + 1] ?? Number.POSITIVE_INFINITY
  }

  #runOf(index: number): number {
    let low = 0
    let high = this.#starts.length - 1
    if ((this.#starts[high] as number) <= index) return high
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((this.#starts[middle] as number) <= index) low = middle
      else high = middle - 1
    }
    return low
  }
}
