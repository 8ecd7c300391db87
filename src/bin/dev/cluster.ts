// Owns a development cluster: starts its roles in order, makes the default pool when all chunkservers
// have registered, and stops all in the reverse order.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { CREATE_POOL, LIST_CHUNKSERVERS, STATUS } from '../../format/control/mds.ts'
import type { Session } from '../cli/session.ts'
import { Child, type ChildEvents } from './child.ts'
import type { DevRole } from './layout.ts'
import { LogFile } from './log-file.ts'

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
    this.#logs = roles.map(
      (role) => new LogFile(join(logs, `${role.name}.log`), (text) => events.onLog(role, text)),
    )
    this.children = roles.map((role, i) => new Child(role, this.#logs[i] as LogFile, events))
  }

  /**
   * Resolves when every role serves and the pool is there. In a new cluster one chunkserver begins
   * after the other, so that each gets the id that is in its name.
   */
  async start(session: Session, isNew: boolean): Promise<void> {
    const disks = this.#of('chunkserver')
    const others = this.children.filter((child) => !disks.includes(child))
    for (const child of isNew ? others : this.children) child.start()
    await Promise.all([
      ...this.children.map((child) => child.ready),
      ...(isNew ? [startInTurn(disks)] : []),
    ])
    await this.#makePool(session)
  }

  async #makePool(session: Session): Promise<void> {
    const count = this.#of('chunkserver').length
    await until(session, async () => {
      const { chunkservers } = await session.ask(LIST_CHUNKSERVERS, {})
      return chunkservers.filter(({ state }) => state === 'online').length >= count
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

  /** Clients first, so that they give their leases back; the MDS last, because all the others ask it. */
  async stop(): Promise<void> {
    for (const child of this.children) child.release()
    for (const kind of ['nbd', 'chunkserver', 'mds'] as const) {
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
