// Owns what `lemnis dev` says when everything serves: what runs where, and what to try.

import type { Io } from '../cli/io.ts'
import { commandName } from '../version.ts'
import type { Child } from './child.ts'
import { type DevOptions, mdsAddressOf } from './layout.ts'

export interface WelcomeFacts {
  readonly isNew: boolean
  readonly seconds: number
  readonly version: string
}

const MDS_DEFAULT = '127.0.0.1:7400'

export function welcome(
  io: Io,
  options: DevOptions,
  children: readonly Child[],
  { isNew, seconds, version }: WelcomeFacts,
): string {
  const rows = children.map(({ role, pid }) => [
    role.name,
    role.address,
    `http://${role.http}`,
    String(pid ?? '-'),
    role.about,
  ])
  const mds = mdsAddressOf(options)
  const lemnis = commandName() + (mds === MDS_DEFAULT ? '' : ` --mds ${mds}`)
  const nbd = `nbd://127.0.0.1:${options.nbdPort}/disk1`
  return [
    `Lemnis ${version} serves after ${seconds.toFixed(1)} s; ${isNew ? 'a new cluster' : 'the data'} in ${options.data}`,
    '',
    io.table(['ROLE', 'ADDRESS', 'HTTP', 'PID', 'ABOUT'], rows),
    '',
    `Logs are in ${options.data}/log. In another terminal:`,
    `  ${lemnis} volume create disk1 --size 10GiB`,
    `  qemu-img info ${nbd}`,
    `  ${lemnis} status`,
    '',
    'Ctrl-C stops everything; the data stays.',
  ].join('\n')
}
