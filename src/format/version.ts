// Owns the version numbers of what is spoken between processes, and how two of them agree on one.
// Rule: version N speaks with N-1, so that a cluster can be upgraded host by host. Disk formats
// carry their own version in their own files.

/** Layout of the frame header itself; another number is another protocol. */
export const FRAME_VERSION = 1

/** What the messages inside of the frames mean; the handshake agrees on one for each connection. */
export const PROTOCOL_VERSION = 1

/** The oldest one still spoken here. */
export const PROTOCOL_VERSION_OLDEST = 1

export interface VersionRange {
  readonly oldest: number
  readonly newest: number
}

export const SPOKEN: VersionRange = { oldest: PROTOCOL_VERSION_OLDEST, newest: PROTOCOL_VERSION }

/** The newest version that both speak; null when there is none. */
export function agreeOnVersion(ours: VersionRange, theirs: VersionRange): number | null {
  const newest = Math.min(ours.newest, theirs.newest)
  return newest >= ours.oldest && newest >= theirs.oldest ? newest : null
}
