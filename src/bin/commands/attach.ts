// Owns the commands that make a volume a block device of this machine and take it away again.

import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { asLemnisError } from '../../base/errors.ts'
import { CLOSE_VOLUME } from '../../format/control/mds.ts'
import { detach, listAttachments, startAttachHost } from '../../platform/loop-attachments.ts'
import type { AttachedWriter } from '../../platform/loop-state.ts'
import { DATA_PROCESS_FLAGS } from '../../platform/runtime.ts'
import { CommandError, reportFailure } from '../cli/failure.ts'
import type { Io } from '../cli/io.ts'
import { declare, ioOf, mdsOf } from '../cli/program.ts'
import { Session } from '../cli/session.ts'
import { ago, size } from '../cli/words.ts'
import type { AttachFlags } from '../roles/attach.ts'

const PROGRAM = fileURLToPath(new URL('../lemnis.js', import.meta.url))

const CLOSE_BUDGET_MS = 2000

function checkRoot(): void {
  if (process.getuid?.() === 0) return
  throw new CommandError(
    'Only root may make and remove block devices; nothing was changed.',
    'Repeat it with sudo, or use the volume over NBD, which needs no rights.',
  )
}

async function attach(
  io: Io,
  name: string,
  flags: AttachFlags,
  mds: readonly string[],
): Promise<void> {
  checkRoot()
  const words = ['--mds', mds.join(','), 'attach-host', name]
  if (flags.force === true) words.push('--force')
  if (flags.readOnly === true) words.push('--read-only')
  const state = await startAttachHost(name, [
    process.execPath,
    ...DATA_PROCESS_FLAGS,
    PROGRAM,
    ...words,
  ])
  io.result(state, () => `${state.device}  (also ${state.link}), ${size(state.sizeBytes)}`)
}

function list(io: Io): void {
  const all = listAttachments()
  const rows = all.map(({ state, isServed }) => [
    state.volume,
    state.device || '-',
    size(state.sizeBytes),
    state.readOnly ? 'read' : 'write',
    String(state.pid),
    isServed ? state.phase : io.paint('red', 'dead'),
    ago(state.sinceMs, Date.now()),
  ])
  io.result(all, () =>
    all.length === 0
      ? 'No volume is attached on this machine.'
      : io.table(['VOLUME', 'DEVICE', 'SIZE', 'MODE', 'PID', 'STATE', 'SINCE'], rows),
  )
}

/** Else the next one who opens it waits for the lease to end, as it does when no MDS answers here. */
async function closeForDead(
  io: Io,
  mds: readonly string[],
  { volumeId, ...holder }: AttachedWriter,
): Promise<void> {
  const session = new Session(io, mds)
  for (const address of mds) {
    const request = { volume: volumeId, ...holder }
    const asked = session.askAt(address, CLOSE_VOLUME, request, CLOSE_BUDGET_MS)
    if (await asked.then(() => true, isAway)) break
  }
  await session.close()
}

function isAway(error: unknown): false {
  asLemnisError(error)
  return false
}

async function remove(io: Io, name: string, force: boolean): Promise<void> {
  checkRoot()
  const { stuck, mds, writer } = await detach(name, { force })
  if (writer !== null) await closeForDead(io, mds, writer)
  const left = stuck.length === 0 ? '' : ` The kernel still holds ${stuck.join(', ')}.`
  io.result({ volume: name, stuck }, () => `${name} is detached.${left}`)
}

/** Runs on this machine alone: no session with the cluster. */
async function run(io: Io, work: () => Promise<void> | void): Promise<void> {
  try {
    await work()
  } catch (error) {
    process.exitCode = reportFailure(io, error)
  }
}

export function addAttachCommands(program: Command): void {
  declare(program, 'attach [name]', 'make a volume a block device of this machine', 'attach disk1')
    .option('--force', 'take it over from another writer, which is fenced')
    .option('--read-only', 'for reading only')
    .option('--list', 'what is attached on this machine')
    .action(
      async (
        name: string | undefined,
        flags: AttachFlags & { list?: boolean },
        command: Command,
      ) => {
        const io = ioOf(command)
        if (flags.list === true) await run(io, () => list(io))
        else if (name === undefined)
          command.error('error: the name of a volume, or --list, is missing')
        else await run(io, () => attach(io, name, flags, mdsOf(command)))
      },
    )
  declare(program, 'detach <name>', 'remove the block device', 'detach disk1')
    .option('--force', 'also while it is in use: its users get errors')
    .action(async (name: string, flags: { force?: boolean }, command: Command) => {
      const io = ioOf(command)
      await run(io, () => remove(io, name, flags.force === true))
    })
}
