// Owns what a development cluster consists of: which roles, where they listen, where their files lie and
// with which settings. Everything is the same as in a real cluster but for shorter times and smaller
// files, so that a laptop has room and a person who stops something sees what follows.

import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { writeSize } from '../../base/units.ts'

export interface DevOptions {
  readonly data: string
  readonly portBase: number
  readonly nbdPort: number
  readonly chunkservers: number
}

export interface DevRole {
  /** Also the name of its log: `chunkserver-2`. */
  readonly name: string
  readonly kind: 'mds' | 'chunkserver' | 'nbd'
  readonly address: string
  readonly http: string
  /** What a person wants to know besides. */
  readonly about: string
  /** Of `lemnis`. */
  readonly words: readonly string[]
}

const HOST = '127.0.0.1'
/** HTTP ports lie this far above the port of the role. */
const HTTP_OFFSET = 80
export const CHUNKSERVERS_MAX = 40
/** As few chunkservers as these have a zone each, so that a fourth can take the place of any other. */
const ZONES_MAX = 4
/** For what else lies on the same file system. */
const SHARE_OF_DISK = 0.9

const SETTINGS: Readonly<Record<DevRole['kind'], readonly string[]>> = {
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

export function mdsAddressOf({ portBase }: DevOptions): string {
  return `${HOST}:${portBase}`
}

export function rolesOf(options: DevOptions): DevRole[] {
  const { data, portBase, nbdPort, chunkservers } = options
  const mds = mdsAddressOf(options)
  const make = (
    kind: DevRole['kind'],
    name: string,
    n: number,
    port: number,
    own: string[],
    about: string,
  ): DevRole => {
    const address = `${HOST}:${port}`
    const http = `${HOST}:${portBase + HTTP_OFFSET + n}`
    const words = [kind, '--listen', address, '--http', http, '--name', name, ...own]
    for (const setting of SETTINGS[kind]) words.push('--set', setting)
    return { name, kind, address, http, about, words }
  }
  const bytes = capacityBytes(data, chunkservers)
  const disks = Array.from({ length: chunkservers }, (_, i) => {
    const name = `chunkserver-${i + 1}`
    const zone = `zone-${(i % Math.min(chunkservers, ZONES_MAX)) + 1}`
    const own = ['--data', join(data, name), '--mds', mds, '--zone', zone, '--server', name]
    return make(
      'chunkserver',
      name,
      i + 1,
      portBase + i + 1,
      [...own, '--set', `chunkstore.capacityBytes=${writeSize(bytes)}`],
      zone,
    )
  })
  return [
    make('mds', 'mds', 0, portBase, ['--data', join(data, 'mds')], 'metadata'),
    ...disks,
    make('nbd', 'nbd', chunkservers + 1, nbdPort, ['--mds', mds], 'every volume, by name'),
  ]
}

/** The chunkservers share one file system, so that each may have its part of it only. */
function capacityBytes(data: string, chunkservers: number): number {
  const { blocks, bsize } = statfsSync(data)
  const mib = 1024 * 1024
  return Math.floor((blocks * bsize * SHARE_OF_DISK) / chunkservers / mib) * mib
}
