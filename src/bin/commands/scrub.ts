// Owns the commands that start and follow the scrub: every chunkserver reads and verifies all its blocks.

import type { Command } from 'commander'
import { START_SCRUB } from '../../format/control/mds.ts'
import type { Chunkserver } from '../../format/control/parts.ts'
import { allChunkservers } from '../cli/pages.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { ago, share } from '../cli/words.ts'
import { addScrubWindowCommands } from './scrub-window.ts'

const WATCH_MS = 1000

async function start(session: Session): Promise<void> {
  await session.ask(START_SCRUB, {})
  session.io.result({}, () => 'All chunkservers were told; `lemnis scrub status --watch` follows.')
}

/** Told to, and heard: it begins when it sends its next heartbeat. One that is away does so later. */
function isAboutTo({ scrub, scrubAsked, state }: Chunkserver): boolean {
  return scrub.state === 'idle' && scrubAsked === true && state === 'online'
}

function stateText(one: Chunkserver): string {
  const { scrub, scrubAsked, state } = one
  if (scrub.state === 'running') return state === 'online' ? 'running' : `running, ${state}`
  if (scrubAsked === true) return isAboutTo(one) ? 'about to begin' : `waits, ${state}`
  return scrub.startedMs === 0 ? 'not since its start' : 'idle'
}

function row(one: Chunkserver, nowMs: number): string[] {
  const { id, scrub } = one
  return [
    String(id),
    stateText(one),
    `${scrub.chunksDone}/${scrub.chunksTotal}`,
    share(scrub.chunksDone, scrub.chunksTotal),
    String(scrub.badBlocks),
    String(scrub.repairedBlocks),
    ago(scrub.finishedMs, nowMs),
  ]
}

function isUnderWay(one: Chunkserver): boolean {
  return isAboutTo(one) || (one.scrub.state === 'running' && one.state === 'online')
}

const HEAD = ['CHUNKSERVER', 'STATE', 'CHUNKS', 'DONE', 'BAD BLOCKS', 'REPAIRED', 'FINISHED']

async function status(session: Session, { watch }: { watch?: boolean }): Promise<boolean> {
  const { io, env } = session
  for (;;) {
    const all = await allChunkservers(session)
    const chunkservers = all.filter(({ state }) => state !== 'retired')
    const rows = chunkservers.map((one) => row(one, env.clock.wallMs()))
    const scrubs = chunkservers.map(({ id, scrub, scrubAsked = false }) => ({
      chunkserver: id,
      ...scrub,
      asked: scrubAsked,
    }))
    io.result(scrubs, () => io.table(HEAD, rows))
    if (watch !== true || !chunkservers.some(isUnderWay)) {
      return scrubs.some(({ badBlocks, repairedBlocks }) => badBlocks > repairedBlocks)
    }
    await new Promise<void>((resume) => env.clock.after(WATCH_MS, resume))
  }
}

export function addScrubCommands(program: Command): void {
  const scrub = family(program, 'scrub', 'read and verify everything on every disk')
  declare(scrub, 'start', 'begin now', 'scrub start').action(asking(start))
  declare(scrub, 'status', 'how far it is, and what it found', 'scrub status --watch')
    .option('--watch', 'go on until it has ended')
    .action(asking(status))
  addScrubWindowCommands(scrub)
}
