// Owns what a development cluster consists of: which roles, where they listen and where their files lie.

import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { writeSize } from '../../base/units.ts'
import { etcdClientsOf, etcdRolesOf } from './etcd.ts'
import { type DevOptions, type DevRole, HOST, roleAt } from './role.ts'

export const CHUNKSERVERS_MAX = 40
const MDS_COUNT = 3
/** As few chunkservers as these have a zone each, so that a fourth can take the place of any other. */
const ZONES_MAX = 4
/** For what else lies on the same file system. */
const SHARE_OF_DISK = 0.9

/** How far above the base each MDS listens: the first at the base, the others above all chunkservers. */
function mdsOffsets({ etcd }: DevOptions): number[] {
  const others = Array.from({ length: MDS_COUNT - 1 }, (_, i) => CHUNKSERVERS_MAX + 2 + i)
  return etcd === true ? [0, ...others] : [0]
}

export function mdsAddressesOf(options: DevOptions): string[] {
  return mdsOffsets(options).map((offset) => `${HOST}:${options.portBase + offset}`)
}

function mdsRolesOf(options: DevOptions): DevRole[] {
  const { data, portBase, etcd } = options
  return mdsOffsets(options).map((n, i) => {
    const name = etcd === true ? `mds-${i + 1}` : 'mds'
    const store =
      etcd === true
        ? ['--store', 'etcd', '--etcd', etcdClientsOf(options).join(',')]
        : ['--data', join(data, name)]
    return roleAt({ name, kind: 'mds', about: 'metadata', n, port: portBase + n }, portBase, store)
  })
}

function diskRolesOf(options: DevOptions, mds: string): DevRole[] {
  const { data, portBase, chunkservers } = options
  const capacity = writeSize(capacityBytes(data, chunkservers))
  return Array.from({ length: chunkservers }, (_, i) => {
    const name = `chunkserver-${i + 1}`
    const zone = `zone-${(i % Math.min(chunkservers, ZONES_MAX)) + 1}`
    const own = ['--data', join(data, name), '--mds', mds, '--zone', zone, '--server', name]
    own.push('--set', `chunkstore.capacityBytes=${capacity}`)
    const place = {
      name,
      kind: 'chunkserver',
      about: zone,
      n: i + 1,
      port: portBase + i + 1,
    } as const
    return roleAt(place, portBase, own)
  })
}

/** In the order in which they need each other. */
export function rolesOf(options: DevOptions): DevRole[] {
  const { portBase, nbdPort, chunkservers, etcd } = options
  const mds = mdsAddressesOf(options).join(',')
  const about = 'every volume, by name'
  const nbd = { name: 'nbd', kind: 'nbd', about, n: chunkservers + 1, port: nbdPort } as const
  return [
    ...(etcd === true ? etcdRolesOf(options) : []),
    ...mdsRolesOf(options),
    ...diskRolesOf(options, mds),
    roleAt(nbd, portBase, ['--mds', mds]),
  ]
}

/** The chunkservers share one file system, so that each may have its part of it only. */
function capacityBytes(data: string, chunkservers: number): number {
  const { blocks, bsize } = statfsSync(data)
  const mib = 1024 * 1024
  return Math.floor((blocks * bsize * SHARE_OF_DISK) / chunkservers / mib) * mib
}
