// Owns the part of etcd's v3 API that is used here: its methods, messages and numbers, as the API
// reference of etcd 3.4 gives them (https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/). Only fields
// that are used are named.

import { many, one, type Schema } from './protobuf.ts'

export interface Method<Q extends Schema, A extends Schema> {
  readonly path: string
  readonly request: Q
  readonly answer: A
}

function method<Q extends Schema, A extends Schema>(
  path: string,
  request: Q,
  answer: A,
): Method<Q, A> {
  return { path: `/etcdserverpb.${path}`, request, answer }
}

const HEADER = { memberId: one(2, 'id'), revision: one(3, 'u53') }
const KEY_VALUE = {
  key: one(1, 'bytes'),
  createRevision: one(2, 'u53'),
  modRevision: one(3, 'u53'),
  value: one(5, 'bytes'),
}

const RANGE_REQUEST = {
  key: one(1, 'bytes'),
  rangeEnd: one(2, 'bytes'),
  limit: one(3, 'u53'),
  countOnly: one(9, 'flag'),
}
const RANGE_ANSWER = { header: one(1, HEADER), kvs: many(2, KEY_VALUE) }
const PUT_REQUEST = { key: one(1, 'bytes'), value: one(2, 'bytes'), lease: one(3, 'u53') }
const DELETE_REQUEST = { key: one(1, 'bytes') }

/** Compare.target; Compare.result is EQUAL (0) where it is not given. */
export const COMPARE_CREATE_REVISION = 1
export const COMPARE_MOD_REVISION = 2
const COMPARE = {
  target: one(2, 'u53'),
  key: one(3, 'bytes'),
  createRevision: one(5, 'u53'),
  modRevision: one(6, 'u53'),
}
const OPERATION = {
  range: one(1, RANGE_REQUEST),
  put: one(2, PUT_REQUEST),
  remove: one(3, DELETE_REQUEST),
}
const OPERATION_ANSWER = { range: one(1, RANGE_ANSWER) }
export const TXN_REQUEST = {
  compare: many(1, COMPARE),
  success: many(2, OPERATION),
  failure: many(3, OPERATION),
}
const TXN_ANSWER = {
  header: one(1, HEADER),
  succeeded: one(2, 'flag'),
  answers: many(3, OPERATION_ANSWER),
}

const LEASE_ID = { id: one(1, 'u53') }
const LEASE_GRANT_REQUEST = { ttlSeconds: one(1, 'u53'), id: one(2, 'u53') }
const LEASE_ANSWER = {
  header: one(1, HEADER),
  id: one(2, 'u53'),
  ttlSeconds: one(3, 'u53'),
}

/** Event.type is PUT (0) or this. */
export const EVENT_DELETE = 1
const EVENT = { type: one(1, 'u53'), item: one(2, KEY_VALUE) }
const WATCH_CREATE = {
  key: one(1, 'bytes'),
  rangeEnd: one(2, 'bytes'),
  startRevision: one(3, 'u53'),
  progressNotify: one(4, 'flag'),
  fragment: one(8, 'flag'),
}
const WATCH_REQUEST = { create: one(1, WATCH_CREATE), progress: one(3, {}) }
const WATCH_ANSWER = {
  header: one(1, HEADER),
  watchId: one(2, 'u53'),
  isCreated: one(3, 'flag'),
  isCancelled: one(4, 'flag'),
  compactRevision: one(5, 'u53'),
  cancelReason: one(6, 'text'),
  isFragment: one(7, 'flag'),
  events: many(11, EVENT),
}

const MEMBER = {
  id: one(1, 'id'),
  name: one(2, 'text'),
  peerUrls: many(3, 'text'),
  clientUrls: many(4, 'text'),
}
const ALARM = { memberId: one(1, 'id'), alarm: one(2, 'u53') }
/** AlarmType, by its number. */
export const ALARM_NAMES = ['NONE', 'NOSPACE', 'CORRUPT'] as const
const STATUS_ANSWER = {
  header: one(1, HEADER),
  version: one(2, 'text'),
  dbBytes: one(3, 'u53'),
  leader: one(4, 'id'),
  raftIndex: one(5, 'u53'),
  raftTerm: one(6, 'u53'),
  errors: many(8, 'text'),
  dbBytesInUse: one(9, 'u53'),
}

export const RANGE = method('KV/Range', RANGE_REQUEST, RANGE_ANSWER)
export const TXN = method('KV/Txn', TXN_REQUEST, TXN_ANSWER)
export const LEASE_GRANT = method('Lease/LeaseGrant', LEASE_GRANT_REQUEST, LEASE_ANSWER)
export const LEASE_REVOKE = method('Lease/LeaseRevoke', LEASE_ID, { header: one(1, HEADER) })
export const LEASE_KEEP_ALIVE = method('Lease/LeaseKeepAlive', LEASE_ID, LEASE_ANSWER)
export const WATCH = method('Watch/Watch', WATCH_REQUEST, WATCH_ANSWER)
export const STATUS = method('Maintenance/Status', {}, STATUS_ANSWER)
/** Its action is GET (0) where it is not given. */
export const ALARMS = method('Maintenance/Alarm', {}, { alarms: many(2, ALARM) })
export const MEMBER_LIST = method('Cluster/MemberList', {}, { members: many(2, MEMBER) })
export const AUTHENTICATE = method(
  'Auth/Authenticate',
  { name: one(1, 'text'), password: one(2, 'text') },
  { token: one(2, 'text') },
)
