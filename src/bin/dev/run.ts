// Owns a run of `lemnis dev` from its start to Ctrl-C: the lock on the directory, the ports, the cluster,
// and what is said about it meanwhile.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { LemnisError } from '../../base/errors.ts'
import { DirectoryLock } from '../../platform/lock.ts'
import { CommandError, EXIT, reportFailure } from '../cli/failure.ts'
import type { Io } from '../cli/io.ts'
import { Session } from '../cli/session.ts'
import { duration } from '../cli/words.ts'
import { VERSION } from '../version.ts'
import { DevCluster } from './cluster.ts'
import { type DevOptions, type DevRole, mdsAddressOf, rolesOf } from './layout.ts'
import { checkPorts } from './ports.ts'
import { welcome } from './welcome.ts'

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

function clusterOf(io: Io, options: DevOptions, roles: readonly DevRole[]): DevCluster {
  const say = (role: DevRole, text: string): void => {
    const time = new Date().toTimeString().slice(0, 8)
    io.note(`${io.paint('dim', time)} ${io.paint('bold', role.name)} ${text}`)
  }
  return new DevCluster(options.data, roles, {
    onLog: say,
    onDied: (role, how, restartMs) =>
      say(
        role,
        `${io.paint('red', 'ended')} (${how}); it is started again in ${duration(restartMs)}`,
      ),
    onReady: (role, isFirst) => {
      if (!isFirst) say(role, `${io.paint('green', 'serves again')}`)
    },
  })
}

/** Ctrl-C stops all cleanly, a second one at once. Resolves when everything is stopped. */
function untilStopped(io: Io, cluster: DevCluster): Promise<void> {
  return new Promise((resolveStopped) => {
    let isStopping = false
    const stop = (): void => {
      if (isStopping) {
        cluster.kill()
        process.exit(EXIT.failed)
      }
      isStopping = true
      io.note('Stopping; once more Ctrl-C kills.')
      void cluster.stop().then(resolveStopped)
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  })
}

export async function runDev(io: Io, options: DevOptions): Promise<void> {
  const startedMs = performance.now()
  const isNew = !existsSync(join(options.data, 'mds'))
  mkdirSync(options.data, { recursive: true })
  const held = lock(options.data)
  const roles = rolesOf(options)
  await checkPorts(roles)
  const cluster = clusterOf(io, options, roles)
  const stopped = untilStopped(io, cluster)
  const session = new Session(io, [mdsAddressOf(options)])
  try {
    const isStarted = await Promise.race([cluster.start(session, isNew).then(() => true), stopped])
    const seconds = (performance.now() - startedMs) / 1000
    if (isStarted === true) {
      io.result(roles, () =>
        welcome(io, options, cluster.children, { isNew, seconds, version: VERSION }),
      )
    }
    await stopped
    io.note('Stopped; the data stays.')
  } catch (error) {
    process.exitCode = reportFailure(io, error)
    await cluster.stop()
  } finally {
    await session.close()
    held.close()
  }
}
