// Owns what `lemnis dev` says when everything serves: what runs where, and what to try.

import type { Io } from '../cli/io.ts'
import { commandName } from '../version.ts'
import type { Child } from './child.ts'
import { mdsAddressesOf } from './layout.ts'
import type { DevOptions } from './role.ts'

export interface WelcomeFacts {
  readonly isNew: boolean
  readonly seconds: number
  readonly version: string
  /** HTTP address of the MDS that leads. */
  readonly leader: string | null
}

const MDS_DEFAULT = '127.0.0.1:7400'

export function welcome(
  io: Io,
  options: DevOptions,
  children: readonly Child[],
  { isNew, seconds, version, leader }: WelcomeFacts,
): string {
  const rows = children.map(({ role, pid }) => [
    role.name,
    role.address,
    `http://${role.http}`,
    String(pid ?? '-'),
    role.http === leader && options.etcd === true ? `${role.about}, leads` : role.about,
  ])
  const mds = mdsAddressesOf(options).join(',')
  const setting = mds === MDS_DEFAULT ? [] : [`  export LEMNIS_MDS=${mds}`]
  const lemnis = commandName()
  const nbd = `nbd://127.0.0.1:${options.nbdPort}/disk1`
  return [
    `Lemnis ${version} serves after ${seconds.toFixed(1)} s; ${isNew ? 'a new cluster' : 'the data'} in ${options.data}`,
    '',
    io.table(['ROLE', 'ADDRESS', 'HTTP', 'PID', 'ABOUT'], rows),
    '',
    `Logs are in ${options.data}/log. In another terminal:`,
    ...setting,
    `  ${lemnis} volume create disk1 --size 10GiB`,
    `  qemu-img info ${nbd}`,
    `  ${lemnis} status`,
    '',
    'Ctrl-C stops everything; the data stays.',
  ].join('\n')
}
