// Owns a histogram with about 3 % resolution from 1 to 2^53: 32 linear steps in each power of two.
// Records without allocation; percentiles are upper bounds of their step.

const STEPS = 32
const STEP_BITS = 5

function slotOf(value: number): number {
  if (value < STEPS) return value
  const exponent = value < 0x1_0000_0000 ? 31 - Math.clz32(value) : highExponent(value)
  const step = Math.floor(value / 2 ** (exponent - STEP_BITS)) - STEPS
  return (exponent - STEP_BITS + 1) * STEPS + step
}

function highExponent(value: number): number {
  return 63 - Math.clz32(Math.floor(value / 0x1_0000_0000))
}

function upperOf(slot: number): number {
  if (slot < STEPS) return slot
  const exponent = Math.floor(slot / STEPS) + STEP_BITS - 1
  return (STEPS + (slot % STEPS) + 1) * 2 ** (exponent - STEP_BITS) - 1
}

export class Histogram {
  readonly #counts = new Float64Array((53 - STEP_BITS + 1) * STEPS)
  #count = 0
  #sum = 0
  #max = 0

  get count(): number {
    return this.#count
  }
  get sum(): number {
    return this.#sum
  }
  get max(): number {
    return this.#max
  }

  /** `value` is rounded down to a whole number, from 0 to 2^53 - 1 at most. */
  record(value: number): void {
    const whole = value > 0 ? Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER) : 0
    const slot = slotOf(whole)
    this.#counts[slot] = (this.#counts[slot] as number) + 1
    this.#count++
    this.#sum += whole
    if (whole > this.#max) this.#max = whole
  }

  /** The value that a share `quantile` (0 to 1) of the records does not exceed; 0 when empty. */
  percentile(quantile: number): number {
    let left = Math.max(1, Math.ceil(this.#count * quantile))
    for (const [slot, count] of this.#counts.entries()) {
      left -= count
      if (left <= 0) return Math.min(upperOf(slot), this.#max)
    }
    return this.#max
  }
}
