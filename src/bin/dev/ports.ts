// Owns the question whether the ports that a development cluster wants are free.

import { createServer } from 'node:net'
import { parseAddress } from '../../platform/network.ts'
import { CommandError } from '../cli/failure.ts'
import type { DevRole } from './role.ts'

function isFree(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(parseAddress(address), () => server.close(() => resolve(true)))
  })
}

export async function checkPorts(roles: readonly DevRole[]): Promise<void> {
  for (const { name, kind, address, http, peer } of roles) {
    for (const wanted of new Set([address, http, peer ?? address])) {
      if (await isFree(wanted)) continue
      const option = kind === 'nbd' && wanted === address ? '--nbd-port 10810' : '--port-base 7600'
      // Members of etcd keep theirs as long as the cluster lives.
      const others = wanted === peer ? '' : `, or choose others, such as ${option}`
      throw new CommandError(
        `Another program uses ${wanted}, which ${name} needs; nothing was started.`,
        `End that program (\`ss -ltnp\` shows which)${others}.`,
      )
    }
  }
}
