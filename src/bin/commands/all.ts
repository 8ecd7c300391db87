// Owns the list of all commands and roles of `lemnis`.

import type { Command } from 'commander'
import { makeProgram } from '../cli/program.ts'
import { VERSION } from '../version.ts'
import { addAttachCommands } from './attach.ts'
import { addAttachHost } from './attach-host.ts'
import { addBenchCommands } from './bench.ts'
import { addChunkCommands } from './chunks.ts'
import { addChunkserverCommands } from './chunkservers.ts'
import { addCopysetCommands } from './copysets.ts'
import { addDevCommand } from './dev.ts'
import { addPoolCommands } from './pools.ts'
import { addRoles } from './roles.ts'
import { addScrubCommands } from './scrub.ts'
import { addStatusCommand } from './status.ts'
import { addTrashCommands } from './trash.ts'
import { addVolumeCommands } from './volumes.ts'
import { addWaitsCommand } from './waits.ts'

export function makeLemnis(): Command {
  const program = makeProgram('lemnis', VERSION)
  addDevCommand(program)
  addStatusCommand(program)
  addVolumeCommands(program)
  addTrashCommands(program)
  addAttachCommands(program)
  addAttachHost(program)
  addPoolCommands(program)
  addCopysetCommands(program)
  addChunkCommands(program)
  addScrubCommands(program)
  addWaitsCommand(program)
  addBenchCommands(program)
  const { chunkserver } = addRoles(program)
  addChunkserverCommands(chunkserver)
  return program
}
