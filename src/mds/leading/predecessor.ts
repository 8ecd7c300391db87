// Owns the last look at the leader before: a new one does not serve as long as that one says it leads. As
// a rule it can't, by its own clock. But etcd has ended leases too early (etcd issue 15247: a leader of
// etcd that was stopped for a while ends what its successor had renewed) and renewed them too late (etcd
// issue 13675); the former MDS then learns it from its watch, a moment or a lease later.

import { asLemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import type { Address } from '../../env/network.ts'
import { SHOW_MDS } from '../../format/control/election.ts'
import type { Observer } from '../../observe/observe.ts'
import { RpcClient } from '../../rpc/client.ts'
import type { RpcConfig } from '../../rpc/config.ts'
import { askControl } from '../../rpc/control.ts'

/** One that is dead refuses at once; one that is stopped has no right left when it goes on. */
const SILENCE_MS = 200
const POLL_MS = 10

/** Resolves when the one at `address` does not lead, or can't be heard, or `isNeeded` is over. */
export async function untilYielded(
  env: Env,
  observer: Observer,
  rpc: RpcConfig,
  address: Address,
  isNeeded: () => boolean,
): Promise<void> {
  const client = new RpcClient(env, observer, address, rpc, 'mds')
  try {
    while (isNeeded()) {
      const { role } = await askControl(client, SHOW_MDS, {}, SILENCE_MS)
      if (role !== 'leader') break
      await new Promise<void>((done) => void env.clock.after(POLL_MS, done))
    }
  } catch (thrown) {
    asLemnisError(thrown)
  }
  await client.close()
}
