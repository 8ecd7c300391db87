// Owns the starting of a role as a child process, whose output goes to its log. None outlives this
// process: Lemnis' roles see the channel to it close, etcd is killed by the kernel.

import { type ChildProcess, fork, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { DATA_PROCESS_FLAGS } from '../../platform/runtime.ts'
import { CommandError } from '../cli/failure.ts'
import { findEtcd, untilHealthy } from './etcd.ts'
import type { LogFile } from './log-file.ts'
import { isReady } from './messages.ts'
import type { DevRole } from './role.ts'

const PROGRAM = fileURLToPath(new URL('../lemnis.js', import.meta.url))
/** `setpriv` of util-linux sets PR_SET_PDEATHSIG (prctl(2)) and becomes the program. */
const DIES_WITH_PARENT = ['setpriv', '--pdeathsig', 'KILL'] as const

/** `onReady` is called when it serves. */
export function spawnRole(role: DevRole, log: LogFile, onReady: () => void): ChildProcess {
  const child = role.kind === 'etcd' ? spawnEtcd(role) : forkLemnis(role)
  if (role.kind === 'etcd') {
    const isRunning = (): boolean => child.exitCode === null && child.signalCode === null
    void untilHealthy(role.http, isRunning).then((isSo) => (isSo ? onReady() : undefined))
  } else {
    child.on('message', (message) => (isReady(message) ? onReady() : undefined))
  }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => log.write(text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => log.write(text))
  child.on('error', (error) => log.write(`${error.message}\n`))
  return child
}

function forkLemnis(role: DevRole): ChildProcess {
  return fork(PROGRAM, [...role.words], {
    execArgv: [...DATA_PROCESS_FLAGS],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
}

function spawnEtcd(role: DevRole): ChildProcess {
  const [program, ...options] = DIES_WITH_PARENT
  // A terminal's Ctrl-C goes to its process group: members are stopped after those that need them.
  return spawn(program, [...options, findEtcd(), ...role.words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
}

/** Said when it ended before it ever served, and would again. */
export function hopeless({ name }: DevRole, log: LogFile): CommandError {
  return new CommandError(
    `${name} can not start; what is on its disk was left as it was.`,
    `Do what it says above; its log is ${log.path}.`,
  )
}
