// Owns small files of checked text: one line of JSON, and one with the CRC32C of the first. Written
// beside and renamed, so that a crash leaves the old one or the new one.

import { bytesEqual, concat } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { Env } from '../env/env.ts'

export type Fields = Readonly<Record<string, unknown>>

/** Added to a file's name for the one that is being written. */
export const TEMPORARY_SUFFIX = '.new'
const FILE_BYTES_MAX = 4 * 1024 * 1024
const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true })

export function encodeChecked(env: Pick<Env, 'crc32c'>, fields: Fields): Uint8Array {
  const line = ENCODER.encode(`${JSON.stringify(fields)}\n`)
  return concat([line, checkLine(env, line)])
}

/** CORRUPT when it is not exactly what encodeChecked() makes of an object. */
export function decodeChecked(env: Pick<Env, 'crc32c'>, bytes: Uint8Array): Fields {
  const end = bytes.indexOf(0x0a) + 1
  const line = bytes.subarray(0, end)
  if (end === 0 || !bytesEqual(bytes.subarray(end), checkLine(env, line))) {
    throw new LemnisError('CORRUPT', { reason: 'checksum' })
  }
  try {
    return JSON.parse(DECODER.decode(line)) as Fields
  } catch (error) {
    throw new LemnisError('CORRUPT', { reason: 'not JSON' }, error)
  }
}

/** Replaces `directory/name`, durably and in one step. */
export async function writeChecked(
  env: Env,
  directory: string,
  name: string,
  fields: Fields,
): Promise<void> {
  const path = `${directory}/${name}`
  const file = await env.disk.open(path + TEMPORARY_SUFFIX, { create: true })
  try {
    await file.truncate(0)
    await file.write(encodeChecked(env, fields), 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await env.disk.rename(path + TEMPORARY_SUFFIX, path)
  await env.disk.syncDirectory(directory)
}

/** A file that is there; CORRUPT when it is damaged. */
export async function readChecked(env: Env, directory: string, name: string): Promise<Fields> {
  const file = await env.disk.open(`${directory}/${name}`)
  try {
    const bytes = new Uint8Array(Math.min(FILE_BYTES_MAX, await file.sizeBytes()))
    const read = await file.read(bytes, 0)
    return decodeChecked(env, bytes.subarray(0, read))
  } finally {
    await file.close()
  }
}

function checkLine(env: Pick<Env, 'crc32c'>, line: Uint8Array): Uint8Array {
  return ENCODER.encode(`crc32c ${env.crc32c(line).toString(16).padStart(8, '0')}\n`)
}
