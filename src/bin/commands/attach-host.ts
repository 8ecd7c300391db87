// Owns the hidden command that `lemnis attach` starts in the background: the process of one device.

import type { Command } from 'commander'
import { EXIT, reportFailure } from '../cli/failure.ts'
import { ioOf, mdsOf } from '../cli/program.ts'
import type { AttachFlags } from '../roles/attach.ts'

export function addAttachHost(program: Command): void {
  program
    .command('attach-host <name>', { hidden: true })
    .option('--force')
    .option('--read-only')
    .action(async (name: string, flags: AttachFlags, command: Command) => {
      const { runAttachHost } = await import('../roles/attach.ts')
      try {
        await runAttachHost(name, flags, mdsOf(command))
      } catch (error) {
        process.exit(reportFailure(ioOf(command), error))
      }
      process.exit(EXIT.ended)
    })
}
