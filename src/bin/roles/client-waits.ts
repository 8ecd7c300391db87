// Owns how the waits of a volume client are listed on an HTTP port.

import type { LemnisClient } from '../../client/client.ts'
import type { Wait } from '../../platform/http.ts'

export function waitsOf(client: LemnisClient, nowMs: number): Wait[] {
  return client
    .waits()
    .map(({ what, waitsFor, sinceMs }) => ({ what, waitsFor, lastsMs: nowMs - sinceMs }))
}
