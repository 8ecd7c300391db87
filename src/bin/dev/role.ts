// Owns what a role of a development cluster is, and the settings of its kind: shorter times and smaller
// files than in a real cluster, so that a laptop has room and a person who stops something sees what
// follows.

export interface DevOptions {
  readonly data: string
  readonly portBase: number
  readonly nbdPort: number
  readonly chunkservers: number
  /** Three metadata servers, elected through three members of etcd, instead of one alone. */
  readonly etcd?: boolean
}

export interface DevRole {
  /** Also the name of its log: `chunkserver-2`. */
  readonly name: string
  readonly kind: 'etcd' | 'mds' | 'chunkserver' | 'nbd'
  readonly address: string
  readonly http: string
  /** Where members of etcd reach each other. */
  readonly peer?: string
  /** What a person wants to know besides. */
  readonly about: string
  /** Of `lemnis`, or of etcd. */
  readonly words: readonly string[]
}

export const HOST = '127.0.0.1'
/** HTTP ports lie this far above the port of the role. */
const HTTP_OFFSET = 80

const SETTINGS: Readonly<Record<DevRole['kind'], readonly string[]>> = {
  etcd: [],
  mds: [
    'mds.heartbeatIntervalMs=500ms',
    'mds.onlineMs=5s',
    'mds.offlineMs=30s',
    'mds.scheduleIntervalMs=1s',
  ],
  // Log segments are written in full when they are made: three chunkservers, two segments each.
  chunkserver: [
    'raftlog.segmentBytes=16MiB',
    'raftlog.segmentsSpare=1',
    'copyset.electionTimeoutMs=600ms',
  ],
  nbd: [],
}

export type Place = Pick<DevRole, 'name' | 'kind' | 'about'> & {
  readonly n: number
  readonly port: number
}

export function roleAt(
  { name, kind, about, n, port }: Place,
  portBase: number,
  own: string[],
): DevRole {
  const address = `${HOST}:${port}`
  const http = `${HOST}:${portBase + HTTP_OFFSET + n}`
  const words = [kind, '--listen', address, '--http', http, '--name', name, ...own]
  for (const setting of SETTINGS[kind]) words.push('--set', setting)
  return { name, kind, address, http, about, words }
}
