// Owns what the command lines of all roles have in common.

import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { EXIT, reportFailure } from '../cli/failure.ts'
import { declare, ioOf, mdsOf } from '../cli/program.ts'
import type { RoleFlags } from '../roles/flags.ts'
import { type SettingTables, settingsHelp } from '../roles/settings.ts'

interface RoleDefinition<O> {
  readonly name: string
  readonly does: string
  readonly example: string
  readonly listen: string
  readonly http: string
  readonly tables: SettingTables
  run(options: O & RoleFlags, mds: readonly string[]): Promise<void>
}

export function addRole<O>(program: Command, role: RoleDefinition<O>): Command {
  return declare(program, role.name, role.does, `${role.name} ${role.example}`)
    .option('--listen <address>', 'host:port to serve at', role.listen)
    .option('--http <address>', 'host:port of metrics and health; empty for none', role.http)
    .option('--name <name>', 'what it calls itself in logs', `${role.name}@${hostname()}`)
    .option(
      '--set <name=value>',
      'a setting; may be repeated',
      (one: string, all: string[]) => [...all, one],
      [],
    )
    .option('--config <file>', 'settings as JSON: {"raftlog": {"segmentBytes": "64MiB"}}')
    .option('--log-file <path>', 'where the log goes instead of standard error')
    .addOption(
      new Option('--log-level <level>', 'what is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addHelpText('after', settingsHelp(role.tables))
    .action(async (options: O & RoleFlags, command: Command) => {
      try {
        await role.run(options, mdsOf(command))
      } catch (error) {
        process.exit(reportFailure(ioOf(command), error) || EXIT.failed)
      }
    })
}
