// Owns the commands about zones: what fails together.

import type { Command } from 'commander'
import { LIST_ZONES, REMOVE_ZONE, type Zone } from '../../format/control/topology.ts'
import { CommandError } from '../cli/failure.ts'
import { allPages } from '../cli/pages.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { drain } from './chunkserver-actions.ts'
import { showZone } from './place-show.ts'
import { goneText, HOLDS, holds } from './topology-text.ts'

function allZones(session: Session): Promise<Zone[]> {
  return allPages(session, LIST_ZONES, {}, (page) => page.zones)
}

async function list(session: Session): Promise<void> {
  const zones = await allZones(session)
  const head = ['ZONE', 'POOLS', 'SERVERS', ...HOLDS]
  session.io.result(zones, () =>
    zones.length === 0
      ? 'No chunkserver has registered yet, so there is no zone.'
      : session.io.table(
          head,
          zones.map((zone) => [
            zone.name,
            zone.pools.join(' '),
            String(zone.servers),
            ...holds(session.io, zone),
          ]),
        ),
  )
}

async function find(session: Session, name: string): Promise<Zone> {
  const found = (await allZones(session)).find((zone) => zone.name === name)
  if (found !== undefined) return found
  throw new CommandError(`There is no zone ${name}.`, 'See `lemnis zone list`.')
}

async function show(session: Session, name: string): Promise<void> {
  await showZone(session, await find(session, name))
}

function draining(on: boolean) {
  return async (session: Session, name: string, { wait }: { readonly wait?: boolean }) => {
    const { name: zone } = await find(session, name)
    await drain(session, { what: 'zone', zone, on }, `Zone ${zone}`, wait === true)
  }
}

async function remove(session: Session, name: string): Promise<void> {
  const { name: zone } = await find(session, name)
  const reply = await session.ask(REMOVE_ZONE, { zone })
  session.io.result(reply, () => goneText(`Zone ${zone}`, reply))
}

export function addZoneCommands(program: Command): void {
  const zone = family(program, 'zone', 'what fails together: replicas lie in different ones')
  const onOne = (usage: string, does: string, example: string): Command =>
    declare(zone, `${usage} <name>`, does, `zone ${example}`)
  declare(zone, 'list', 'all, with what they hold', 'zone list').action(asking(list))
  onOne('show', 'one, with its servers', 'show rack1').action(asking(show))
  onOne('drain', 'move everything off its chunkservers, which then retire', 'drain rack1 --wait')
    .option('--wait', 'go on until it is empty')
    .action(asking(draining(true)))
  onOne('undrain', 'keep it in service after all', 'undrain rack1').action(asking(draining(false)))
  onOne('remove', 'forget one whose chunkservers are all empty', 'remove rack1').action(
    asking(remove),
  )
}
