// Owns the key-value machines of one host: each replica's in a directory of its own, so that a rebuilt
// replica never meets what its predecessor left.

import type { Env } from '../../env/env.ts'
import type { Machines } from '../state-machine.ts'
import { KvMachine, type KvOptions } from './kv.ts'

export function kvMachines(env: Env, directory: string, options: KvOptions = {}): Machines {
  const pathOf = (group: number, replica: number): string => `${directory}/${group}-${replica}`
  return {
    open: (group, replica) => KvMachine.open(env, pathOf(group, replica), options),
    remove: async (group, replica) => {
      const path = pathOf(group, replica)
      for (const name of await env.disk.list(path)) await env.disk.remove(`${path}/${name}`)
    },
  }
}
