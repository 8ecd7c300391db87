// Owns what is due to each zone and each chunkserver of a pool: replicas by capacity, with no zone
// above one replica of every copyset. What a zone can't take goes to the others.

/**
 * `total` divided by weight, nobody above `cap`: what one can't take goes to the others. With all at
 * the cap the rest is nobody's.
 */
export function cappedShares(weights: readonly number[], total: number, cap: number): number[] {
  const shares = weights.map(() => 0)
  let open = weights.map((_, i) => i)
  let left = total
  for (;;) {
    const weight = sumOf(open.map((i) => weights[i] as number))
    const shareOf = (i: number): number => (left * (weights[i] as number)) / weight
    const capped = open.filter((i) => shareOf(i) >= cap)
    if (capped.length === 0) {
      for (const i of open) shares[i] = shareOf(i)
      return shares
    }
    for (const i of capped) shares[i] = cap
    left -= cap * capped.length
    open = open.filter((i) => !capped.includes(i))
    if (open.length === 0) return shares
  }
}

/** `total` divided by weight. */
export function sharesOf(weights: readonly number[], total: number): number[] {
  const sum = sumOf(weights)
  return weights.map((weight) => (total * weight) / sum)
}

export function sumOf(values: readonly number[]): number {
  let sum = 0
  for (const value of values) sum += value
  return sum
}
