// Owns the one list of events and metrics, with what each means. A name is stable: dashboards and
// alerts hang on it. Units are the last word of a metric's name.

export const EVENTS = {
  // rpc
  rpc_connected: { level: 'info', says: 'A connection to a peer was made and its handshake done.' },
  rpc_disconnected: { level: 'info', says: 'A connection ended; calls in flight on it failed.' },
  rpc_peer_silent: { level: 'warn', says: 'A peer did not answer keep-alives and was given up.' },
  rpc_protocol_violation: {
    level: 'warn',
    says: 'Bytes that are no valid frame; that connection was closed.',
  },
  // raftlog
  raftlog_recovered: { level: 'info', says: 'The log was read after a start.' },
  raftlog_tail_cut: {
    level: 'warn',
    says: 'The last batch was torn by a crash before it was acknowledged, and was cut off.',
  },
  raftlog_corrupt: {
    level: 'error',
    says: 'A damaged batch lies before valid ones; replicas on this disk must be rebuilt.',
  },
  raftlog_poisoned: {
    level: 'error',
    says: 'A write to the log failed; nothing more is acknowledged by this process.',
  },
  raftlog_segment_purged: { level: 'debug', says: 'A log segment was returned for reuse.' },
  raftlog_group_pins_log: {
    level: 'warn',
    says: 'A group holds old segments and was asked to checkpoint.',
  },
  // copyset
  copyset_replica_made: { level: 'info', says: 'A replica was made here.' },
  copyset_replica_destroyed: {
    level: 'info',
    says: 'A replica was removed from its group and its data deleted.',
  },
  copyset_replica_damaged: {
    level: 'error',
    says: 'A replica can not be trusted and stopped; it must be rebuilt from the others.',
  },
  copyset_state_sent: {
    level: 'info',
    says: 'A replica that was too far behind got the state it lacked.',
  },
  copyset_state_not_sent: {
    level: 'warn',
    says: 'Sending the state to a replica ended early; it is tried again from there.',
  },
} as const satisfies Record<string, { level: 'debug' | 'info' | 'warn' | 'error'; says: string }>

export const COUNTERS = {
  rpc_frames_received_total: { help: 'Frames received.', label: null },
  rpc_frames_sent_total: { help: 'Frames sent.', label: null },
  rpc_bytes_received_total: { help: 'Bytes received.', label: null },
  rpc_bytes_sent_total: { help: 'Bytes sent.', label: null },
  rpc_calls_failed_total: { help: 'Calls that ended in an error.', label: 'code' },
  rpc_connections_closed_total: { help: 'Connections that ended.', label: 'reason' },
  rpc_overloaded_total: { help: 'Calls refused because too much was in flight.', label: null },
  rpc_requests_expired_total: {
    help: 'Requests not executed because their time was up when they were whole.',
    label: null,
  },
  rpc_replies_unexpected_total: {
    help: 'Answers to no waiting call: late or double.',
    label: null,
  },
  rpc_notes_dropped_total: { help: 'Notes not sent or not handled.', label: 'reason' },
  raftlog_batches_total: { help: 'Batches appended, each one gathered write.', label: null },
  raftlog_records_total: { help: 'Records appended.', label: null },
  raftlog_bytes_total: { help: 'Bytes written to the log, padding included.', label: null },
  raftlog_reads_total: { help: 'Entries read back from disk.', label: null },
} as const satisfies Record<string, { help: string; label: string | null }>

export const HISTOGRAMS = {
  rpc_call_seconds: { help: 'From call to answer, at the client.', label: null },
  raftlog_append_seconds: { help: 'From append to durable.', label: null },
} as const satisfies Record<string, { help: string; label: string | null }>

export const GAUGES = {
  rpc_connections: { help: 'Connections open.' },
  rpc_inflight_bytes: { help: 'Request bytes taken in and not yet answered.' },
  raftlog_segments: { help: 'Segment files in use.' },
  copyset_replicas: { help: 'Replicas in service on this host.' },
  copyset_proposal_bytes: { help: 'Entry bytes proposed here and not answered.' },
  raftlog_cache_bytes: { help: 'Entry payloads held in memory.' },
} as const satisfies Record<string, { help: string }>

export type EventName = keyof typeof EVENTS
export type CounterName = keyof typeof COUNTERS
export type HistogramName = keyof typeof HISTOGRAMS
export type GaugeName = keyof typeof GAUGES
