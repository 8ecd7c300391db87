// Owns a development cluster: starts its roles in order, makes the default pool when all chunkservers
// have registered, and stops all in the reverse order.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { CREATE_POOL, STATUS } from '../../format/control/mds.ts'
import type { Session } from '../cli/session.ts'
import { Child, type ChildEvents } from './child.ts'
import { LogFile } from './log-file.ts'
import type { DevRole } from './role.ts'

const POLL_MS = 50
const REPLICAS = 3
export const DEFAULT_POOL = 'default'

export class DevCluster {
  readonly children: readonly Child[]
  readonly #logs: readonly LogFile[]

  constructor(
    directory: string,
    roles: readonly DevRole[],
    events: ChildEvents & { onLog(role: DevRole, text: string): void },
  ) {
    const logs = join(directory, 'log')
    mkdirSync(logs, { recursive: true })
    // Members of etcd warn of each other while they start; when one ends, that is said.
    const tell = (role: DevRole, text: string): void =>
      role.kind === 'etcd' ? undefined : events.onLog(role, text)
    this.#logs = roles.map(
      (role) => new LogFile(join(logs, `${role.name}.log`), (text) => tell(role, text)),
    )
    this.children = roles.map((role, i) => new Child(role, this.#logs[i] as LogFile, events))
  }

  /**
   * Resolves when every role serves and the pool is there. In a new cluster one chunkserver begins
   * after the other, so that each gets the id that is in its name.
   */
  async start(session: Session, isNew: boolean): Promise<void> {
    const disks = this.#of('chunkserver')
    const etcd = this.#of('etcd')
    for (const child of etcd) child.start()
    await Promise.all(etcd.map((child) => child.ready))
    const later = this.children.filter((child) => !etcd.includes(child))
    for (const child of later) if (!isNew || !disks.includes(child)) child.start()
    await Promise.all([
      ...later.map((child) => child.ready),
      ...(isNew ? [startInTurn(disks)] : []),
    ])
    await this.#makePool(session)
  }

  async #makePool(session: Session): Promise<void> {
    const count = this.#of('chunkserver').length
    await until(session, async () => {
      return (await session.ask(STATUS, {})).chunkservers.online >= count
    })
    const { copysets } = await session.ask(STATUS, {})
    if (copysets.total === 0) {
      const replicas = Math.min(REPLICAS, count)
      await session.ask(CREATE_POOL, { name: DEFAULT_POOL, replicas, copysets: 0 })
    }
    await until(session, async () => {
      const status = await session.ask(STATUS, {})
      return status.copysets.ok === status.copysets.total
    })
  }

  #of(kind: DevRole['kind']): Child[] {
    return this.children.filter((child) => child.role.kind === kind)
  }

  /** Clients first, so that they give their leases back; whoever is asked by others after those. */
  async stop(): Promise<void> {
    for (const child of this.children) child.release()
    for (const kind of ['nbd', 'chunkserver', 'mds', 'etcd'] as const) {
      await Promise.all(this.#of(kind).map((child) => child.stop()))
    }
    for (const log of this.#logs) log.close()
  }

  kill(): void {
    for (const child of this.children) child.kill()
  }
}

async function startInTurn(children: readonly Child[]): Promise<void> {
  for (const child of children) {
    child.start()
    await child.ready
  }
}

/** Asks again also when the MDS does not answer: it may just be started again. */
async function until(session: Session, isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo().catch(() => false))) {
    await new Promise<void>((resume) => session.env.clock.after(POLL_MS, resume))
  }
}
