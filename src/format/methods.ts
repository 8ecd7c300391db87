// Owns the numbers of all calls and notes on the wire. A number is never reused.

export const METHODS = {
  /** Note: Raft messages of many groups from one host to another. */
  RAFT_BATCH: 0x0101,
  /** Make a replica that holds nothing yet, before it is added to its group. */
  REPLICA_CREATE: 0x0102,
  /** Raft snapshot transfer. */
  TRANSFER_BEGIN: 0x0103,
  TRANSFER_PIECE: 0x0104,
  TRANSFER_FINISH: 0x0105,
  /** The replicated key-value machine of tests and benches. */
  KV_COMMAND: 0x0f01,
  KV_READ: 0x0f02,
} as const
