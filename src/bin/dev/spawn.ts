// Owns the starting of a role as a child process, whose output goes to its log.

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { DATA_PROCESS_FLAGS } from '../../platform/runtime.ts'
import { CommandError } from '../cli/failure.ts'
import type { DevRole } from './layout.ts'
import type { LogFile } from './log-file.ts'

const PROGRAM = fileURLToPath(new URL('../lemnis.js', import.meta.url))

export function spawnRole(role: DevRole, log: LogFile): ChildProcess {
  const child = fork(PROGRAM, [...role.words], {
    execArgv: [...DATA_PROCESS_FLAGS],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  child.stdout?.setEncoding('utf8').on('data', (text: string) => log.write(text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => log.write(text))
  child.on('error', (error) => log.write(`${error.message}\n`))
  return child
}

/** Said when it ended before it ever served, and would again. */
export function hopeless({ name }: DevRole, log: LogFile): CommandError {
  return new CommandError(
    `${name} can not start; what is on its disk was left as it was.`,
    `Do what it says above; its log is ${log.path}.`,
  )
}
