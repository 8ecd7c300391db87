// Owns the bytes of a manifest: which file holds each bucket, up to which entry, and the host's mark.
//   magic u32 | bucketCount u32 | fileCount u32 | markBytes u32 | generation u53 | appliedIndex u53
//   file: bucket u32 | zero u32 | generation u53 | version u53 | bytes u53
//   mark | CRC32C u32 of all that

import { viewOf } from '../../base/bytes.ts'
import type { Crc32c } from '../../base/crc32c.ts'
import { LemnisError } from '../../base/errors.ts'
import { readU53, writeU53 } from '../../base/u53.ts'

const MAGIC = 0x314d564b // 'KVM1'
const HEADER_BYTES = 32
const FILE_BYTES = 32

export interface BucketFile {
  readonly bucket: number
  /** Of the checkpoint or snapshot that wrote it: a part of its name. */
  readonly generation: number
  readonly version: number
  readonly bytes: number
}

export interface Manifest {
  readonly generation: number
  readonly bucketCount: number
  readonly appliedIndex: number
  readonly mark: Uint8Array
  readonly files: readonly BucketFile[]
}

export function encodeManifest(manifest: Manifest, crc32c: Crc32c): Uint8Array {
  const { files, mark } = manifest
  const out = new Uint8Array(HEADER_BYTES + files.length * FILE_BYTES + mark.byteLength + 4)
  const view = viewOf(out)
  view.setUint32(0, MAGIC, true)
  view.setUint32(4, manifest.bucketCount, true)
  view.setUint32(8, files.length, true)
  view.setUint32(12, mark.byteLength, true)
  writeU53(view, 16, manifest.generation)
  writeU53(view, 24, manifest.appliedIndex)
  let at = HEADER_BYTES
  for (const file of files) {
    view.setUint32(at, file.bucket, true)
    writeU53(view, at + 8, file.generation)
    writeU53(view, at + 16, file.version)
    writeU53(view, at + 24, file.bytes)
    at += FILE_BYTES
  }
  out.set(mark, at)
  at += mark.byteLength
  view.setUint32(at, crc32c(out.subarray(0, at)), true)
  return out
}

export function decodeManifest(bytes: Uint8Array, crc32c: Crc32c): Manifest {
  const corrupt = (reason: string): LemnisError =>
    new LemnisError('CORRUPT', { what: 'manifest', reason })
  const view = viewOf(bytes)
  const end = bytes.byteLength - 4
  if (end < HEADER_BYTES) throw corrupt('length')
  if (crc32c(bytes.subarray(0, end)) !== view.getUint32(end, true)) throw corrupt('checksum')
  if (view.getUint32(0, true) !== MAGIC) throw corrupt('magic')
  const fileCount = view.getUint32(8, true)
  const markBytes = view.getUint32(12, true)
  if (HEADER_BYTES + fileCount * FILE_BYTES + markBytes !== end) throw corrupt('length')
  const files: BucketFile[] = []
  let at = HEADER_BYTES
  for (let i = 0; i < fileCount; i++, at += FILE_BYTES) {
    files.push({
      bucket: view.getUint32(at, true),
      generation: readU53(view, at + 8),
      version: readU53(view, at + 16),
      bytes: readU53(view, at + 24),
    })
  }
  return {
    generation: readU53(view, 16),
    bucketCount: view.getUint32(4, true),
    appliedIndex: readU53(view, 24),
    mark: bytes.slice(at, at + markBytes),
    files,
  }
}
