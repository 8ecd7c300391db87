// Owns the commands that make a volume a block device of this machine and take it away again.

import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { detach, listAttachments, startAttachHost } from '../../platform/loop-attachments.ts'
import { DATA_PROCESS_FLAGS } from '../../platform/runtime.ts'
import { CommandError, reportFailure } from '../cli/failure.ts'
import type { Io } from '../cli/io.ts'
import { declare, ioOf, mdsOf } from '../cli/program.ts'
import { ago, size } from '../cli/words.ts'
import type { AttachFlags } from '../roles/attach.ts'
import { closeForDead } from './attach-dead.ts'

const PROGRAM = fileURLToPath(new URL('../lemnis.js', import.meta.url))

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
  const command = [process.execPath, ...DATA_PROCESS_FLAGS, PROGRAM, ...words]
  const state = await startAttachHost(name, command)
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

async function remove(io: Io, name: string, force: boolean): Promise<void> {
  checkRoot()
  const { stuck, ...left } = await detach(name, { force })
  await closeForDead(io, left)
  const held = stuck.length === 0 ? '' : ` The kernel still holds ${stuck.join(', ')}.`
  io.result({ volume: name, stuck }, () => `${name} is detached.${held}`)
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
