// Owns the list of all commands and roles of `lemnis`. A command is loaded when its name is on the command
// line: one that asks one question shall not wait for all the others.

import type { Command } from 'commander'
import { makeProgram } from '../cli/program.ts'
import { VERSION } from '../version.ts'

type Add = (program: Command) => void

/** By the words that it answers to, in the order of the help. */
const PARTS: readonly (readonly [words: readonly string[], load: () => Promise<Add>])[] = [
  [['dev'], async () => (await import('./dev.ts')).addDevCommand],
  [['status'], async () => (await import('./status.ts')).addStatusCommand],
  [['check'], async () => (await import('./check.ts')).addCheckCommand],
  [['volume'], async () => (await import('./volumes.ts')).addVolumeCommands],
  [['trash'], async () => (await import('./trash.ts')).addTrashCommands],
  [['attach', 'detach'], async () => (await import('./attach.ts')).addAttachCommands],
  [['attach-host'], async () => (await import('./attach-host.ts')).addAttachHost],
  [['pool'], async () => (await import('./pools.ts')).addPoolCommands],
  [['zone'], async () => (await import('./zones.ts')).addZoneCommands],
  [['server'], async () => (await import('./servers.ts')).addServerCommands],
  [['copyset'], async () => (await import('./copysets.ts')).addCopysetCommands],
  [['chunk'], async () => (await import('./chunks.ts')).addChunkCommands],
  [['operator'], async () => (await import('./operators.ts')).addOperatorCommands],
  [['scheduler', 'leader'], async () => (await import('./schedulers.ts')).addSchedulerCommands],
  [['maintenance'], async () => (await import('./maintenance.ts')).addMaintenanceCommands],
  [['scrub'], async () => (await import('./scrub.ts')).addScrubCommands],
  [['waits'], async () => (await import('./waits.ts')).addWaitsCommand],
  [['bench'], async () => (await import('./bench.ts')).addBenchCommands],
  [['export'], async () => (await import('./export.ts')).addExportCommands],
  [['mds', 'chunkserver', 'nbd'], async () => (await import('./roles.ts')).addRoles],
]

/** The first word that is no option, and no value of one: those before a command are the program's. */
function commandWord(words: readonly string[]): string | null {
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    if (word === '--mds') i++
    else if (!word.startsWith('-')) return word
  }
  return null
}

/** With what `words` ask for; with everything for help, and for a word that nothing answers to. */
export async function makeLemnis(words: readonly string[] = []): Promise<Command> {
  const program = makeProgram('lemnis', VERSION)
  const asked = commandWord(words)
  const found = PARTS.filter(([names]) => asked !== null && names.includes(asked))
  for (const [, load] of found.length > 0 ? found : PARTS) (await load())(program)
  return program
}
