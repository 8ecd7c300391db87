// Owns the methods of the RPC bench, known to its client and its server process.

export const BENCH_METHODS = {
  /** Takes a payload, answers with nothing: the shape of a write. */
  TAKE: 0x0ff1,
  /** Answers with as many bytes as the body says (u32): the shape of a read. */
  GIVE: 0x0ff2,
} as const
