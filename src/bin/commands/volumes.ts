// Owns the commands about volumes in use: create, list, show, resize, rename, delete, restore.

import type { Command } from 'commander'
import { asking, declare, family } from '../cli/program.ts'
import { countArgument, sizeArgument } from '../cli/words.ts'
import { create, list, remove, rename, resize, restore, show } from './volume-actions.ts'

export function addVolumeCommands(program: Command): void {
  const volume = family(program, 'volume', 'block devices: create, look at, change')
  declare(volume, 'create <name>', 'make a volume', 'volume create disk1 --size 10GiB')
    .requiredOption(
      '--size <size>',
      'how large, such as 10GiB; space is taken as it is written',
      sizeArgument,
    )
    .option('--stripe-unit <size>', 'bytes in one chunk before the next one; 64KiB', sizeArgument)
    .option('--stripe-count <count>', 'chunks that take turns', countArgument, 1)
    .option('--iops <count>', 'requests a second at most; 0 for no limit', countArgument, 0)
    .option('--bps <size>', 'bytes a second at most; 0B for no limit', sizeArgument, 0)
    .option('--pool <name>', 'the pool that it lies in')
    .action(asking(create))
  declare(volume, 'list', 'all volumes', 'volume list').action(asking(list))
  declare(volume, 'show <name>', 'one volume, and who has it', 'volume show disk1').action(
    asking(show),
  )
  declare(
    volume,
    'resize <name>',
    'make it larger, also while it is in use',
    'volume resize disk1 --size 20GiB',
  )
    .requiredOption('--size <size>', 'the new size', sizeArgument)
    .action(asking(resize))
  declare(volume, 'rename <name> <to>', 'give it another name', 'volume rename disk1 disk2').action(
    asking(rename),
  )
  declare(volume, 'delete <name>', 'put it into the recycle bin', 'volume delete disk1').action(
    asking(remove),
  )
  declare(
    volume,
    'restore <name>',
    'take it out of the recycle bin',
    'volume restore disk1 --to disk3',
  )
    .option('--id <id>', 'which one, where several had that name', countArgument)
    .option('--to <name>', 'under another name')
    .action(asking(restore))
}
