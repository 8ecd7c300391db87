// Owns `lemnis dev`: a whole cluster in the foreground of one terminal.

import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { reportFailure } from '../cli/failure.ts'
import { declare, ioOf } from '../cli/program.ts'
import { countArgument } from '../cli/words.ts'
import { CHUNKSERVERS_MAX } from '../dev/layout.ts'
import type { DevOptions } from '../dev/role.ts'
import { runDev } from '../dev/run.ts'

export function addDevCommand(program: Command): void {
  declare(
    program,
    'dev',
    'run a whole cluster on this machine, in this terminal',
    'dev --data ./data',
  )
    .option('--data <directory>', 'where everything lies', join(homedir(), '.lemnis', 'dev'))
    .option(
      '--port-base <port>',
      'of the MDS; chunkservers have the next ones',
      countArgument,
      7400,
    )
    .option('--nbd-port <port>', 'of the NBD server', countArgument, 10_809)
    .option('--chunkservers <count>', 'how many, spread over up to four zones', countArgument, 3)
    .option(
      '--etcd',
      'three metadata servers elected through three members of etcd, which must be here',
    )
    .action(async (options: DevOptions, command: Command) => {
      const io = ioOf(command)
      const { chunkservers } = options
      if (chunkservers < 1 || chunkservers > CHUNKSERVERS_MAX) {
        command.error(`error: --chunkservers is from 1 to ${CHUNKSERVERS_MAX}`)
      }
      try {
        await runDev(io, { ...options, data: resolve(options.data) })
      } catch (error) {
        process.exitCode = reportFailure(io, error)
      }
      process.exit()
    })
}
