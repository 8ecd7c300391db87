// Owns the declaration of the roles on the command line; each is put together in ../roles, which is
// loaded when it runs: a command that asks one question shall not wait for all of that.

import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import type { ChunkserverFlags } from '../roles/chunkserver.ts'
import type { MdsFlags } from '../roles/mds.ts'
import type { NbdFlags } from '../roles/nbd.ts'
import { CHUNKSERVER_TABLES, MDS_TABLES, NBD_TABLES } from '../roles/tables.ts'
import { addChunkserverCommands } from './chunkservers.ts'
import { addRole } from './role.ts'

export function addRoles(program: Command): void {
  addRole(program, {
    name: 'mds',
    does: 'run a metadata server',
    example: '--data /var/lib/lemnis/mds --listen 10.0.0.1:7400',
    listen: '127.0.0.1:7400',
    http: '127.0.0.1:7480',
    tables: MDS_TABLES,
    run: async (flags: MdsFlags) => (await import('../roles/mds.ts')).runMds(flags),
  })
    .addOption(
      new Option('--store <kind>', 'embedded: of this MDS alone; etcd: shared by several')
        .choices(['embedded', 'etcd'])
        .default('embedded'),
    )
    .option('--data <directory>', 'where its embedded store lies')
    .option('--etcd <addresses>', 'members of etcd as host:port, with commas between them')
    .option('--advertise <address>', 'what others reach it by, when not --listen')
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
      'failure domain: replicas of a copyset are in different ones',
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
  addChunkserverCommands(chunkserver)
}
