// Owns the directory of a development cluster: one `lemnis dev` at a time, and whether a cluster lies in
// it already and with which store.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { LemnisError } from '../../base/errors.ts'
import { DirectoryLock } from '../../platform/lock.ts'
import { CommandError } from '../cli/failure.ts'
import { findEtcd, hasEtcd, keepEtcdPorts } from './etcd.ts'
import type { DevOptions } from './role.ts'

export interface DevDirectory {
  readonly lock: DirectoryLock
  readonly isNew: boolean
  /** As asked for, or as the cluster that lies there was made. */
  readonly options: DevOptions
}

function lock(data: string): DirectoryLock {
  try {
    return DirectoryLock.take(data)
  } catch (error) {
    if (!(error instanceof LemnisError) || error.code !== 'IN_USE') throw error
    throw new CommandError(
      `A \`lemnis dev\` with pid ${error.detail['pid']} runs on ${data} already; it was left alone.`,
      'Use that one, stop it by Ctrl-C, or give another directory by --data.',
    )
  }
}

export function openDirectory(asked: DevOptions): DevDirectory {
  const { data } = asked
  const isEmbedded = existsSync(join(data, 'mds'))
  if (asked.etcd === true && isEmbedded) {
    throw new CommandError(
      `The cluster in ${data} keeps its records in the embedded store; nothing was started.`,
      'Leave --etcd out, or give another directory by --data for a cluster with etcd.',
    )
  }
  const options = { ...asked, etcd: asked.etcd === true || hasEtcd(data) }
  if (options.etcd) findEtcd()
  mkdirSync(data, { recursive: true })
  const isNew = !isEmbedded && !hasEtcd(data)
  return { lock: lock(data), isNew, options }
}

/** Once its ports are known to be free. */
export function keepPorts(options: DevOptions): void {
  if (options.etcd === true) keepEtcdPorts(options)
}
