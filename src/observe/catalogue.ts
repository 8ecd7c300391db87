// Owns the one list of events and metrics, with what each means. A name is stable: dashboards and
// alerts hang on it. Units are the last word of a metric's name.

export const EVENTS = {
  // the process of a role
  role_started: { level: 'info', says: 'The process serves.' },
  role_stopped: { level: 'info', says: 'The process ends as it was asked to.' },
  role_stop_timeout: {
    level: 'warn',
    says: 'Not everything was closed in time; the process ends all the same, as a crash would.',
  },
  role_broken: {
    level: 'error',
    says: 'A bug: something that cannot happen did. The process ends before it does harm.',
  },
  role_gave_up: {
    level: 'error',
    says: 'The process can not go on: its disk failed, or another one took its place. It ends.',
  },
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
    level: 'debug',
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
  // chunkstore
  chunkstore_opened: { level: 'info', says: 'The chunk files of a disk were opened.' },
  chunkstore_bad_blocks: {
    level: 'error',
    says: 'Blocks failed their checksum or could not be read; they are taken from another replica.',
  },
  chunkstore_full: {
    level: 'warn',
    says: 'The disk is full; new chunks are refused, and what waits for room stays in memory.',
  },
  chunkstore_has_room: { level: 'info', says: 'The disk was full and has room again.' },
  chunkstore_failed: {
    level: 'error',
    says: 'The disk returned an error; this process writes nothing more to it.',
  },
  // mds
  mds_started: { level: 'info', says: 'The MDS has read its records and serves.' },
  mds_elected: { level: 'info', says: 'This MDS was elected and takes over.' },
  mds_leader_lost: {
    level: 'warn',
    says: 'This MDS leads no more and stands by; another one serves, or will.',
  },
  mds_taken_over: { level: 'info', says: 'The elected MDS has read its records.' },
  mds_takeover_delayed: {
    level: 'warn',
    says: 'The elected MDS could not read its records yet; it goes on trying.',
  },
  mds_store_awaited: {
    level: 'warn',
    says: 'The store, etcd, does not answer yet; the MDS starts as soon as it does.',
  },
  mds_leader_seen: { level: 'info', says: 'Another MDS leads; this one stands by.' },
  mds_chunkserver_registered: { level: 'info', says: 'A disk became a chunkserver.' },
  mds_chunkserver_moved: {
    level: 'info',
    says: 'A chunkserver has another address, pool, zone or server than before.',
  },
  mds_chunkserver_keeps_pool: {
    level: 'warn',
    says: 'A chunkserver asked for another pool while it holds replicas; drain it before it moves.',
  },
  mds_chunkserver_replaced: {
    level: 'warn',
    says: 'Another disk answers at a chunkserver’s address; what it held is rebuilt elsewhere.',
  },
  mds_chunkserver_retired: {
    level: 'info',
    says: 'A replaced chunkserver holds nothing any more; its id does not come back.',
  },
  mds_chunkserver_online: { level: 'info', says: 'A chunkserver is heard, or heard again.' },
  mds_chunkserver_offline: {
    level: 'warn',
    says: 'A chunkserver was silent for so long that its copysets are rebuilt elsewhere.',
  },
  mds_pool_created: { level: 'info', says: 'A pool and its copysets were recorded.' },
  mds_pool_grown: { level: 'info', says: 'A pool was given more copysets.' },
  mds_pool_removed: {
    level: 'info',
    says: 'A pool without volumes was removed; the replicas of its copysets are ended.',
  },
  mds_pool_fills: {
    level: 'warn',
    says: 'The fullest chunkserver of a pool has passed a mark; writes stop when it is full.',
  },
  mds_pool_has_room: { level: 'info', says: 'A pool is below its marks again.' },
  mds_chunkserver_slow: {
    level: 'warn',
    says: 'A disk stands out from its peers or returns errors; its chunkserver leads nothing now.',
  },
  mds_chunkserver_sound: { level: 'info', says: 'A chunkserver is slow or sick no more.' },
  mds_drain_begun: { level: 'info', says: 'A chunkserver is to empty itself.' },
  mds_drain_ended: { level: 'info', says: 'A chunkserver need not empty itself any more.' },
  mds_copyset_founded: { level: 'debug', says: 'All first replicas of a copyset were seen.' },
  mds_membership_changed: { level: 'info', says: 'A copyset reported new members.' },
  mds_membership_conflict: {
    level: 'error',
    says: 'Two reports name different members for one epoch; the recorded ones stand.',
  },
  mds_replica_unknown: {
    level: 'warn',
    says: 'A chunkserver holds a replica of a copyset that is not recorded; it is left alone.',
  },
  mds_operator_begun: { level: 'info', says: 'A copyset is to change.' },
  mds_operator_finished: { level: 'info', says: 'A copyset is as an operator wanted it.' },
  mds_operator_dropped: { level: 'warn', says: 'An operator was given up, for the reason named.' },
  mds_guard_changed: {
    level: 'warn',
    says: 'Nothing may move now, for the reasons named.',
  },
  mds_guard_lifted: { level: 'info', says: 'Things may move again.' },
  mds_young: {
    level: 'info',
    says: 'This MDS has just begun to lead: nothing moves until everybody was heard, or soon after.',
  },
  mds_maintenance_begun: { level: 'info', says: 'Nothing is moved until the time named.' },
  mds_maintenance_ended: { level: 'info', says: 'Maintenance is over; things may move again.' },
  mds_leaders_balanced: {
    level: 'info',
    says: 'Leaders are evened out, as somebody asked for it.',
  },
  mds_scheduler_switched: { level: 'info', says: 'A scheduler was switched on or off.' },
  mds_store_failed: {
    level: 'error',
    says: 'A write to the metadata store failed or another MDS took it over; this one stops.',
  },
  metastore_member_lost: {
    level: 'warn',
    says: 'A member of etcd did not answer, or could not; the next one is asked.',
  },
  metastore_member_found: { level: 'info', says: 'A member of etcd answers again.' },
  metastore_commit_decided: {
    level: 'info',
    says: 'The answer to a commit was lost; whether it had taken effect was found out.',
  },
  metastore_watch_restarted: {
    level: 'info',
    says: 'A watch may have missed changes that etcd has forgotten; all is read anew.',
  },
  mds_clean_delayed: {
    level: 'warn',
    says: 'The chunks of a volume deleted for good could not all be ended; it is tried again.',
  },
  mds_volume_gone: {
    level: 'info',
    says: 'A volume deleted for good is gone with its chunks; its space is free again.',
  },
  // chunkserver
  chunkserver_started: { level: 'info', says: 'The disk is open and its replicas are loaded.' },
  chunkserver_registered: { level: 'info', says: 'A new disk was given its place in the cluster.' },
  chunkserver_moved: {
    level: 'warn',
    says: 'The disk was last started in another zone or server; it goes on in this one.',
  },
  chunkserver_mds_awaited: {
    level: 'info',
    says: 'No MDS answers at this moment; one that takes over, or starts again, is soon found.',
  },
  chunkserver_mds_lost: {
    level: 'warn',
    says: 'No MDS answers; volumes are served on with what is known.',
  },
  chunkserver_mds_refuses: {
    level: 'error',
    says: 'The MDS does not take this disk for one of its own; it is served on and gets no orders.',
  },
  chunkserver_retired: {
    level: 'info',
    says: 'It was taken out of the cluster and nothing there is needed: its process can be stopped and its disk wiped.',
  },
  chunkserver_mds_found: { level: 'info', says: 'An MDS answers again.' },
  chunkserver_order_refused: {
    level: 'warn',
    says: 'An order of the MDS could not be followed; it is given again while it is wanted.',
  },
  chunkserver_change_ended: { level: 'info', says: 'A change of a copyset’s members has ended.' },
  chunkserver_fenced: {
    level: 'error',
    says: 'The disk failed; this chunkserver serves nothing any more and ends.',
  },
  chunkserver_blocks_repaired: {
    level: 'warn',
    says: 'Blocks that failed their checksum were taken from other replicas.',
  },
  chunkserver_blocks_lost: {
    level: 'error',
    says: 'Blocks fail their checksum here and no other replica has given them; reads of them fail.',
  },
  chunkserver_replicas_differ: {
    level: 'error',
    says: 'A replica’s data differs from the others’ though its checksums are right; it is rebuilt.',
  },
  chunkserver_scrub_started: { level: 'info', says: 'Scrub began to read all blocks of the disk.' },
  chunkserver_scrub_skipped: {
    level: 'warn',
    says: 'Scrub could not read all of a replica; the next scrub tries again.',
  },
  chunkserver_scrub_ended: { level: 'info', says: 'Scrub has read all blocks of the disk.' },
  // client
  client_volume_opened: { level: 'info', says: 'A volume was opened.' },
  client_volume_fenced: {
    level: 'error',
    says: 'Another client took the volume over; this one serves it no more.',
  },
  client_volume_resized: { level: 'info', says: 'An open volume has grown.' },
  client_lease_lost: {
    level: 'warn',
    says: 'The lease of an open volume could not be renewed in time; I/O goes on until fenced.',
  },
  client_lease_regained: { level: 'info', says: 'A lease that had run out was renewed.' },
  client_chunkserver_unstable: {
    level: 'warn',
    says: 'A chunkserver let many requests in a row time out; others are asked who leads now.',
  },
  // attach
  nbd_client_connected: { level: 'info', says: 'An NBD client began to use a volume.' },
  nbd_client_gone: { level: 'info', says: 'An NBD client has gone.' },
  nbd_protocol_violation: {
    level: 'warn',
    says: 'An NBD client broke the protocol; its connection was closed.',
  },
  attach_ready: { level: 'info', says: 'A volume is a block device of this host.' },
  attach_busy: {
    level: 'warn',
    says: 'The device can not be removed while it is in use; it stays as it is.',
  },
  attach_grown: { level: 'info', says: 'The block device grew with its volume.' },
  attach_ended: { level: 'info', says: 'The block device is gone.' },
  attach_healed: {
    level: 'warn',
    says: 'What an attach process that died had left was cleaned up.',
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
  rpc_server_failed_total: {
    help: 'Calls that this server refused or failed; those in all are rpc_server_seconds_count.',
    label: 'method',
  },
  rpc_server_received_bytes_total: { help: 'Bytes of calls and notes taken in.', label: 'method' },
  rpc_server_sent_bytes_total: { help: 'Bytes of answers.', label: 'method' },
  rpc_server_notes_total: { help: 'Notes taken in.', label: 'method' },
  raftlog_batches_total: { help: 'Batches appended, each one gathered write.', label: null },
  raftlog_records_total: { help: 'Records appended.', label: null },
  raftlog_bytes_total: { help: 'Bytes written to the log, padding included.', label: null },
  mds_answers_withheld_total: {
    help: 'Answers not given because the MDS had ceased to lead meanwhile.',
    label: null,
  },
  metastore_calls_lost_total: { help: 'Calls to etcd without an answer.', label: 'method' },
  mds_heartbeats_total: { help: 'Heartbeats of chunkservers taken in.', label: null },
  mds_operators_begun_total: { help: 'Operators begun.', label: 'why' },
  mds_operators_ended_total: { help: 'Operators ended.', label: 'state' },
  mds_calls_total: {
    help: 'Calls that reached this MDS while it led, or had just ceased to.',
    label: 'call',
  },
  mds_calls_failed_total: { help: 'Calls that the MDS refused or failed.', label: 'code' },
  mds_orders_total: { help: 'Orders given with heartbeats, repetitions included.', label: 'kind' },
  chunkstore_written_back_bytes_total: {
    help: 'Bytes of blocks written into chunk files.',
    label: null,
  },
  chunkstore_bad_blocks_total: { help: 'Blocks found bad.', label: null },
  chunkstore_repaired_blocks_total: {
    help: 'Blocks written back as a peer has them.',
    label: null,
  },
  chunkstore_checkpoints_total: { help: 'States of replicas made durable.', label: null },
  raftlog_reads_total: { help: 'Entries read back from disk.', label: null },
  chunkserver_reads_total: { help: 'Reads of chunks served to clients.', label: null },
  chunkserver_writes_total: { help: 'Writes to chunks acknowledged to clients.', label: null },
  chunkserver_read_bytes_total: { help: 'Bytes read by clients.', label: null },
  chunkserver_written_bytes_total: { help: 'Bytes written by clients.', label: null },
  chunkserver_refused_total: { help: 'Chunk calls refused.', label: 'code' },
  copyset_elections_won_total: { help: 'Times that a replica here became leader.', label: null },
  client_read_bytes_total: { help: 'Bytes read from a volume here.', label: 'volume' },
  client_written_bytes_total: { help: 'Bytes written to a volume here.', label: 'volume' },
  client_failed_total: { help: 'Operations on a volume here that failed.', label: 'volume' },
  client_retries_total: { help: 'Chunk requests sent again.', label: 'code' },
  nbd_requests_total: { help: 'Requests of NBD clients handed to a volume.', label: 'command' },
  nbd_requests_failed_total: { help: 'Requests of NBD clients that failed.', label: 'code' },
  fuse_requests_total: { help: 'Requests of the kernel for a volume.', label: 'kind' },
  fuse_requests_failed_total: { help: 'Requests of the kernel that failed.', label: 'code' },
  nbd_connections_closed_total: { help: 'NBD connections that ended.', label: 'reason' },
} as const satisfies Record<string, { help: string; label: string | null }>

export const HISTOGRAMS = {
  rpc_call_seconds: { help: 'From call to answer, at the client.', label: null },
  rpc_server_seconds: {
    help: 'From a call’s arrival to its answer, at the server.',
    label: 'method',
  },
  raftlog_append_seconds: { help: 'From append to durable.', label: null },
  chunkserver_read_seconds: { help: 'From a read’s arrival to its answer.', label: null },
  chunkserver_write_seconds: { help: 'From a write’s arrival to its answer.', label: null },
  metastore_call_seconds: {
    help: 'From a call to etcd to its answer, by method.',
    label: 'method',
  },
  mds_call_seconds: { help: 'From a call’s arrival at the MDS to its answer.', label: 'call' },
  mds_plan_seconds: { help: 'Time of one pass of one planner.', label: 'planner' },
  mds_view_seconds: { help: 'Time to make the view of the cluster for a pass.', label: null },
  copyset_commit_seconds: {
    help: 'From a proposal to its effect at the leader, of every entry proposed here.',
    label: null,
  },
  client_read_seconds: { help: 'From the read of a volume to its bytes.', label: 'volume' },
  client_write_seconds: { help: 'From the write of a volume to durable.', label: 'volume' },
  nbd_request_seconds: {
    help: 'From a request of an NBD client to its answer, where it succeeded.',
    label: 'command',
  },
} as const satisfies Record<string, { help: string; label: string | null }>

export const GAUGES = {
  rpc_connections: { help: 'Connections open.' },
  rpc_inflight_bytes: { help: 'Request bytes taken in and not yet answered.' },
  raftlog_segments: { help: 'Segment files in use.' },
  copyset_replicas: { help: 'Replicas in service on this host.' },
  mds_chunkservers_online: { help: 'Chunkservers heard lately.' },
  mds_chunkservers_slow: { help: 'Chunkservers that stand out or are sick.' },
  mds_chunkservers_draining: { help: 'Chunkservers that empty themselves.' },
  mds_pool_fullest_percent: { help: 'How far the fullest chunkserver of any pool is used.' },
  mds_copysets_impaired: { help: 'Copysets with a replica away or damaged, or without quorum.' },
  mds_leading: { help: 'Whether this MDS leads.' },
  mds_operators: { help: 'Operators under way.' },
  mds_guarded: { help: 'Is 1 while nothing may move, else 0.' },
  copyset_leaders: { help: 'Replicas here that lead their group.' },
  copyset_proposal_bytes: { help: 'Entry bytes proposed here and not answered.' },
  chunkstore_dirty_bytes: { help: 'Bytes of blocks not yet in their files.' },
  chunkstore_used_bytes: { help: 'Bytes that chunks take.' },
  chunkstore_capacity_bytes: { help: 'Bytes that chunks may take.' },
  raftlog_cache_bytes: { help: 'Entry payloads held in memory.' },
  chunkserver_reading_bytes: { help: 'Bytes of reads under way.' },
  chunkserver_mds_silence_seconds: { help: 'For how long no MDS has answered.' },
  chunkserver_recovery_limit_bytes: {
    help: 'Bytes a second at which state may be sent, and as many taken in, at present.',
  },
  chunkserver_recovery_sent_bytes: { help: 'Bytes of state sent in the last second.' },
  chunkserver_recovery_received_bytes: { help: 'Bytes of state taken in in the last second.' },
  client_chunkservers_unstable: { help: 'Chunkservers that let requests time out.' },
  nbd_connections: { help: 'NBD clients connected.' },
  nbd_inflight_bytes: { help: 'Request and answer bytes of NBD clients under way.' },
} as const satisfies Record<string, { help: string }>

export type EventName = keyof typeof EVENTS
export type CounterName = keyof typeof COUNTERS
export type HistogramName = keyof typeof HISTOGRAMS
export type GaugeName = keyof typeof GAUGES
