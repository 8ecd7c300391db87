// Owns which ports a test uses whose processes listen on ports that are given to them: a range that no
// other test of this machine gets until this process ends, also while its processes are down for a while.
// Below those that the kernel gives to connections, one of which could take a port meanwhile.

import { createServer, type Server } from 'node:net'

/** `lemnis dev` uses most above its base: roles by their number, HTTP 80 above. */
export const PORTS_FREE = 140
const FIRST = 20_000
const RANGES = 60
/** From one base to the next. The last port is nobody's: who listens there has claimed the range. */
const APART = 200

/** A base above which PORTS_FREE ports are free. */
export async function freePorts(): Promise<number> {
  for (;;) {
    const base = FIRST + APART * Math.floor(Math.random() * RANGES)
    const claim = await listenAt(base + APART - 1)
    if (claim === null) continue
    const offsets = Array.from({ length: PORTS_FREE }, (_, offset) => offset)
    const servers = await Promise.all(offsets.map((offset) => listenAt(base + offset)))
    const found = servers.filter((server) => server !== null)
    await Promise.all(found.map((server) => new Promise((closed) => server.close(closed))))
    if (found.length === PORTS_FREE) {
      claim.unref()
      return base
    }
    claim.close()
  }
}

/** Null when somebody else listens there. */
function listenAt(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(null))
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
