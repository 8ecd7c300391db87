// Owns how volumes are shown to people.

import { SEGMENT_BYTES } from '../../format/chunk-request.ts'
import type { Volume } from '../../format/control/parts.ts'
import type { Io } from '../cli/io.ts'
import { ago, share, size } from '../cli/words.ts'

/** What the segments that it has take of the volume's size; the last one may reach beyond it. */
function allocatedBytes(volume: Volume): number {
  return Math.min(volume.sizeBytes, volume.segmentsAllocated * SEGMENT_BYTES)
}

function limits({ iopsMax, bytesPerSecondMax }: Volume): string {
  const parts = []
  if (iopsMax > 0) parts.push(`${iopsMax} IOPS`)
  if (bytesPerSecondMax > 0) parts.push(`${size(bytesPerSecondMax)}/s`)
  return parts.join(', ') || '-'
}

function striping({ stripeUnitBytes, stripeCount }: Volume): string {
  return stripeCount > 1 ? `${size(stripeUnitBytes)} over ${stripeCount} chunks` : '-'
}

export function volumeTable(io: Io, volumes: readonly Volume[]): string {
  if (volumes.length === 0)
    return 'No volumes yet; `lemnis volume create NAME --size 10GiB` makes one.'
  return io.table(
    ['NAME', 'SIZE', 'ALLOCATED', 'POOL', 'LIMITS', 'IN USE BY'],
    volumes.map((volume) => [
      volume.name,
      size(volume.sizeBytes),
      size(allocatedBytes(volume)),
      volume.pool,
      limits(volume),
      volume.holder?.address ?? '-',
    ]),
  )
}

export function volumeFacts(io: Io, volume: Volume, nowMs: number): string {
  const { holder } = volume
  const allocated = allocatedBytes(volume)
  return io.facts([
    ['name', volume.name],
    ['id', String(volume.id)],
    ['size', `${size(volume.sizeBytes)} (${volume.sizeBytes} bytes)`],
    ['allocated', `${size(allocated)}, ${share(allocated, volume.sizeBytes)}`],
    ['pool', volume.pool],
    ['striping', striping(volume)],
    ['limits', limits(volume)],
    ['created', ago(volume.createdMs, nowMs)],
    ['sequence number', String(volume.sn)],
    ['write epoch', String(volume.epoch)],
    [
      'in use by',
      holder === undefined ? 'nobody' : `${holder.address}, since ${ago(holder.sinceMs, nowMs)}`,
    ],
  ])
}

export function trashTable(io: Io, volumes: readonly Volume[], nowMs: number): string {
  if (volumes.length === 0) return 'The recycle bin is empty.'
  return io.table(
    ['ID', 'NAME', 'SIZE', 'DELETED', 'GONE FOR GOOD'],
    volumes.map((volume) => [
      String(volume.id),
      volume.name,
      size(volume.sizeBytes),
      ago(volume.deletedMs ?? 0, nowMs),
      new Date(volume.expiresMs ?? 0).toISOString().slice(0, 16).replace('T', ' '),
    ]),
  )
}
