// Randomness as the core sees it: seeded in the simulator, from the system's entropy in production.

export interface Random {
  /** 32 random bits. */
  u32(): number
  /** A whole number from 0 to `limit` - 1; `limit` at most 2^32. */
  below(limit: number): number
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  /** A stream of its own, the same for the same label. */
  fork(label: string): Random
}
