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
  /** What the receiver holds of one item. */
  TRANSFER_HAVE: 0x0106,
  /** Chunks, to the leader of their copyset (chunk-request.ts; answers in chunk-replies.ts). */
  CHUNK_WRITE: 0x0301,
  CHUNK_READ: 0x0302,
  /** Changes without data: zero, fence, delete, snapshots and clones. */
  CHUNK_CHANGE: 0x0303,
  /** Who leads a copyset, and in which term. */
  COPYSET_LEADER: 0x0304,
  /** Which blocks of a chunk hold data. */
  CHUNK_EXTENTS: 0x0305,
  /** Between replicas: verified blocks of one version, for repair. */
  CHUNK_BLOCKS: 0x0306,
  /** The replicated key-value machine of tests and benches. */
  KV_COMMAND: 0x0f01,
  KV_READ: 0x0f02,
} as const
