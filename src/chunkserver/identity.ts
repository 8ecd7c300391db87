// Owns the identity file of a disk (docs/formats/identity.md): which cluster it belongs to and which
// chunkserver it is. A new disk gets its random id first, durably, and is completed when the MDS has
// registered it: so a crash in between registers the same disk again, never a second one.
// Invariant: a disk that carries anything else, or nothing readable, is not touched.

import { LemnisError } from '../base/errors.ts'
import { makeNamedDirectory } from '../env/disk.ts'
import type { Env } from '../env/env.ts'
import { type Fields, readChecked, TEMPORARY_SUFFIX, writeChecked } from './checked-file.ts'

export interface Identity {
  /** Of this disk, made at random when it was empty. */
  readonly diskId: string
  /** Empty, 0 and empty until it is registered. */
  readonly clusterId: string
  readonly id: number
  readonly token: string
  /** Where it was last started; may change. */
  readonly zone: string
  readonly server: string
}

export const IDENTITY_NAME = 'identity'
const FORMAT = 1
/** What an empty disk may hold: a file system's own, a lock, and what a crash left of the first write. */
const NOT_OURS = new Set(['lost+found', 'lock', IDENTITY_NAME + TEMPORARY_SUFFIX])

/** The identity of the disk at `directory`; a new one, already durable, when it is empty. */
export async function openIdentity(
  env: Env,
  directory: string,
  zone: string,
  server: string,
): Promise<Identity> {
  await makeNamedDirectory(env.disk, directory)
  const names = await env.disk.list(directory)
  if (names.includes(IDENTITY_NAME)) {
    return identityOf(await readChecked(env, directory, IDENTITY_NAME))
  }
  const stranger = names.find((name) => !NOT_OURS.has(name))
  if (stranger !== undefined) {
    const reason = 'the directory is not empty and has no identity file: it is no disk of Lemnis'
    throw new LemnisError('WRONG_DISK', { directory, found: stranger, reason })
  }
  const identity = { diskId: randomId(env), clusterId: '', id: 0, token: '', zone, server }
  await writeIdentity(env, directory, identity)
  return identity
}

export async function writeIdentity(env: Env, directory: string, fields: Identity): Promise<void> {
  const { diskId, clusterId, id, token, zone, server } = fields
  const file = { format: FORMAT, diskId, clusterId, id, token, zone, server }
  await writeChecked(env, directory, IDENTITY_NAME, file)
}

/** CORRUPT when a field is wrong; unknown ones are ignored. */
export function identityOf(fields: Fields): Identity {
  const { format, id } = fields
  if (format !== FORMAT) throw corrupt('format')
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) throw corrupt('id')
  const text = (name: string): string => {
    const value = fields[name]
    if (typeof value !== 'string') throw corrupt(name)
    return value
  }
  return {
    id,
    diskId: text('diskId'),
    clusterId: text('clusterId'),
    token: text('token'),
    zone: text('zone'),
    server: text('server'),
  }
}

function randomId(env: Env): string {
  let id = ''
  for (let i = 0; i < 4; i++) id += env.random.u32().toString(16).padStart(8, '0')
  return id
}

function corrupt(field: string): LemnisError {
  return new LemnisError('CORRUPT', { what: 'identity file', field })
}
