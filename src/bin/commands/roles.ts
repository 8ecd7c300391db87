// Owns the declaration of the roles on the command line; each is put together in ../roles, which is
// loaded when it runs: a command that asks one question shall not wait for all of that.

import { hostname } from 'node:os'
import type { Command } from 'commander'
import { Option } from 'commander'
import { EXIT, reportFailure } from '../cli/failure.ts'
import { declare, ioOf, mdsOf } from '../cli/program.ts'
import type { ChunkserverFlags } from '../roles/chunkserver.ts'
import type { RoleFlags } from '../roles/flags.ts'
import type { MdsFlags } from '../roles/mds.ts'
import type { NbdFlags } from '../roles/nbd.ts'
import { type SettingTables, settingsHelp } from '../roles/settings.ts'
import { CHUNKSERVER_TABLES, MDS_TABLES, NBD_TABLES } from '../roles/tables.ts'

interface RoleDefinition<O> {
  readonly name: string
  readonly does: string
  readonly example: string
  readonly listen: string
  readonly http: string
  readonly tables: SettingTables
  run(options: O & RoleFlags, mds: readonly string[]): Promise<void>
}

function addRole<O>(program: Command, role: RoleDefinition<O>): Command {
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

export function addRoles(program: Command): { readonly chunkserver: Command } {
  addRole(program, {
    name: 'mds',
    does: 'run a metadata server',
    example: '--data /var/lib/lemnis/mds --listen 10.0.0.1:7400',
    listen: '127.0.0.1:7400',
    http: '127.0.0.1:7480',
    tables: MDS_TABLES,
    run: async (flags: MdsFlags) => (await import('../roles/mds.ts')).runMds(flags),
  }).option('--data <directory>', 'where its store lies')
  const chunkserver = addRole(program, {
    name: 'chunkserver',
    does: 'run a chunkserver on one disk, or look at those that run',
    example:
      '--data /disks/a --listen 10.0.0.2:7401 --zone rack1 --server host2 --mds 10.0.0.1:7400',
    listen: '127.0.0.1:7401',
    http: '127.0.0.1:7481',
    tables: CHUNKSERVER_TABLES,
    run: async (flags: ChunkserverFlags, mds) =>
      (await import('../roles/chunkserver.ts')).runChunkserver(flags, mds),
  })
    .option('--data <directory>', 'of the disk')
    .option('--advertise <address>', 'what others reach it by, when not --listen')
    .option('--pool <name>', 'the pool that it belongs to', 'default')
    .option(
      '--zone <name>',
      'its failure domain: replicas of one copyset are in different ones',
      'zone-1',
    )
    .option('--server <name>', 'the machine that it runs on', hostname())
  addRole(program, {
    name: 'nbd',
    does: 'serve every volume by its name over NBD',
    example: '--listen 127.0.0.1:10809 --mds 10.0.0.1:7400',
    listen: '127.0.0.1:10809',
    http: '127.0.0.1:7490',
    tables: NBD_TABLES,
    run: async (flags: NbdFlags, mds) => (await import('../roles/nbd.ts')).runNbd(flags, mds),
  }).option('--read-only', 'open volumes for reading only')
  return { chunkserver }
}
