// Owns how a process that opens volumes names itself to the MDS, so that others see who has a volume
// and where to ask it what it waits for.

import { hostname } from 'node:os'

/** `nbd on host7, pid 123, http://127.0.0.1:7490`. */
export function holderName(role: string, httpAddress: string): string {
  const http = httpAddress === '' ? '' : `, http://${httpAddress}`
  return `${role} on ${hostname()}, pid ${process.pid}${http}`
}

/** The address of its HTTP port, when it has one. */
export function httpOfHolder(name: string): string | null {
  return /, http:\/\/(\S+)$/.exec(name)?.[1] ?? null
}

/** The pid of a holder that ran on this host, and does not run any more; else null. */
export function deadPidOfHolder(name: string): number | null {
  const match = /^\S+ on (.+), pid (\d+)(?:,|$)/.exec(name)
  if (match === null || match[1] !== hostname()) return null
  const pid = Number(match[2])
  try {
    process.kill(pid, 0)
    return null
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH' ? pid : null
  }
}
