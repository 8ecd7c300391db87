// Owns a run of `lemnis dev` from its start to Ctrl-C: the lock on the directory, the ports, the cluster,
// and what is said about it meanwhile.

import { STATUS } from '../../format/control/mds.ts'
import { EXIT, reportFailure } from '../cli/failure.ts'
import type { Io } from '../cli/io.ts'
import { Session } from '../cli/session.ts'
import { duration } from '../cli/words.ts'
import { VERSION } from '../version.ts'
import { DevCluster } from './cluster.ts'
import { keepPorts, openDirectory } from './directory.ts'
import { mdsAddressesOf, rolesOf } from './layout.ts'
import { checkPorts } from './ports.ts'
import type { DevOptions, DevRole } from './role.ts'
import { welcome } from './welcome.ts'

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

export async function runDev(io: Io, asked: DevOptions): Promise<void> {
  const startedMs = performance.now()
  const { lock, isNew, options } = openDirectory(asked)
  const roles = rolesOf(options)
  await checkPorts(roles)
  keepPorts(options)
  const cluster = clusterOf(io, options, roles)
  const stopped = untilStopped(io, cluster)
  const session = new Session(io, mdsAddressesOf(options))
  try {
    const isStarted = await Promise.race([cluster.start(session, isNew).then(() => true), stopped])
    const seconds = (performance.now() - startedMs) / 1000
    if (isStarted === true) {
      const leader = (await session.ask(STATUS, {})).httpAddress ?? null
      const facts = { isNew, seconds, version: VERSION, leader }
      io.result(roles, () => welcome(io, options, cluster.children, facts))
    }
    await stopped
    io.note('Stopped; the data stays.')
  } catch (error) {
    process.exitCode = reportFailure(io, error)
    await cluster.stop()
  } finally {
    await session.close()
    lock.close()
  }
}
