// Owns the commands about servers, the machines on which chunkservers run.

import type { Command } from 'commander'
import { LIST_SERVERS, REMOVE_SERVER, type Server } from '../../format/control/topology.ts'
import { CommandError } from '../cli/failure.ts'
import { allPages } from '../cli/pages.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { drain } from './chunkserver-actions.ts'
import { showServer } from './place-show.ts'
import { goneText, serverTable } from './topology-text.ts'

function allServers(session: Session, zone?: string): Promise<Server[]> {
  const request = zone === undefined ? {} : { zone }
  return allPages(session, LIST_SERVERS, request, (page) => page.servers)
}

async function list(session: Session, { zone }: { zone?: string }): Promise<void> {
  const servers = await allServers(session, zone)
  session.io.result(servers, () =>
    servers.length === 0
      ? 'No chunkserver has registered there yet, so there is no server.'
      : serverTable(session.io, servers),
  )
}

/** Names of servers are of their own in each zone; mostly one is enough to tell. */
async function find(session: Session, name: string, zone?: string): Promise<Server> {
  const [found, ...others] = (await allServers(session, zone)).filter((one) => one.name === name)
  if (found === undefined) {
    throw new CommandError(`There is no server ${name}.`, 'See `lemnis server list`.')
  }
  if (others.length === 0) return found
  const zones = [found, ...others].map((one) => one.zone).join(', ')
  throw new CommandError(
    `There is a server ${name} in several zones: ${zones}. Nothing was changed.`,
    'Say which by --zone.',
  )
}

interface OneServer {
  readonly zone?: string
  readonly wait?: boolean
}

async function show(session: Session, name: string, { zone }: OneServer): Promise<void> {
  await showServer(session, await find(session, name, zone))
}

function draining(on: boolean) {
  return async (session: Session, name: string, { zone: given, wait }: OneServer) => {
    const { zone } = await find(session, name, given)
    const request = { what: 'server', zone, server: name, on } as const
    await drain(session, request, `Server ${name}`, wait === true)
  }
}

async function remove(session: Session, name: string, { zone: given }: OneServer): Promise<void> {
  const { zone } = await find(session, name, given)
  const reply = await session.ask(REMOVE_SERVER, { zone, server: name })
  session.io.result(reply, () => goneText(`Server ${name}`, reply))
}

export function addServerCommands(program: Command): void {
  const server = family(program, 'server', 'machines on which chunkservers run')
  declare(server, 'list', 'all, with what they hold', 'server list --zone rack1')
    .option('--zone <name>', 'only those in it')
    .action(asking(list))
  const onOne = (usage: string, does: string, example: string): Command =>
    declare(server, `${usage} <name>`, does, `server ${example}`).option(
      '--zone <name>',
      'where several zones have a server of that name',
    )
  onOne('show', 'one, with its chunkservers', 'show host2').action(asking(show))
  onOne('drain', 'move everything off its chunkservers, which then retire', 'drain host2 --wait')
    .option('--wait', 'go on until it is empty')
    .action(asking(draining(true)))
  onOne('undrain', 'keep it in service after all', 'undrain host2').action(asking(draining(false)))
  onOne('remove', 'forget one whose chunkservers are all empty', 'remove host2').action(
    asking(remove),
  )
}
