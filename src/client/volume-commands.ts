// Owns the commands about volumes that are not I/O, each one call of the MDS. A command that must not
// be executed twice fails with DISCONNECTED or DEADLINE_EXCEEDED when its outcome is unknown.

import type { ControlCall, ReplyOf, RequestOf } from '../format/control/call.ts'
import {
  CREATE_VOLUME,
  DELETE_VOLUME,
  EMPTY_TRASH,
  LIST_VOLUMES,
  RENAME_VOLUME,
  RESIZE_VOLUME,
  RESTORE_VOLUME,
  SHOW_VOLUME,
} from '../format/control/mds.ts'
import type { Volume as VolumeInfo } from '../format/control/parts.ts'
import type { ClientConfig } from './config.ts'
import type { MdsCaller } from './mds-caller.ts'

export interface CreateOptions {
  readonly sizeBytes: number
  /** Consecutive units of this many bytes lie in `stripeCount` chunks by turns; not striped without. */
  readonly stripeUnitBytes?: number
  readonly stripeCount?: number
  /** No limit without. */
  readonly iopsMax?: number
  readonly bytesPerSecondMax?: number
  readonly pool?: string
}

export interface RestoreOptions {
  /** Which one, where several of the name were deleted; the newest without. */
  readonly id?: number
  /** Another name, where the old one is taken. */
  readonly to?: string
}

export class VolumeCommands {
  readonly #mds: MdsCaller
  readonly #patienceMs: number

  constructor(mds: MdsCaller, config: ClientConfig) {
    this.#mds = mds
    this.#patienceMs = config.mdsPatienceMs
  }

  create(name: string, options: CreateOptions): Promise<VolumeInfo> {
    const { sizeBytes, pool } = options
    const request = {
      name,
      sizeBytes,
      stripeUnitBytes: options.stripeUnitBytes ?? 0,
      stripeCount: options.stripeCount ?? 1,
      iopsMax: options.iopsMax ?? 0,
      bytesPerSecondMax: options.bytesPerSecondMax ?? 0,
      ...(pool === undefined ? {} : { pool }),
    }
    return this.#ask(CREATE_VOLUME, request, false)
  }

  list(): Promise<VolumeInfo[]> {
    return this.#all(false)
  }

  /** The recycle bin. */
  listDeleted(): Promise<VolumeInfo[]> {
    return this.#all(true)
  }

  show(name: string): Promise<VolumeInfo> {
    return this.#ask(SHOW_VOLUME, { name }, true)
  }

  /** Volumes only grow. */
  resize(name: string, sizeBytes: number): Promise<VolumeInfo> {
    return this.#ask(RESIZE_VOLUME, { name, sizeBytes }, true)
  }

  rename(name: string, to: string): Promise<VolumeInfo> {
    return this.#ask(RENAME_VOLUME, { name, to }, false)
  }

  /** Into the recycle bin. */
  delete(name: string): Promise<VolumeInfo> {
    return this.#ask(DELETE_VOLUME, { name }, false)
  }

  restore(name: string, options: RestoreOptions = {}): Promise<VolumeInfo> {
    return this.#ask(RESTORE_VOLUME, { name, ...options }, false)
  }

  /** Ends one deleted volume for good, or all of them; how many it was. */
  async emptyTrash(id?: number): Promise<number> {
    const request = id === undefined ? {} : { id }
    return (await this.#ask(EMPTY_TRASH, request, false)).volumes
  }

  /** Page by page. */
  async #all(deleted: boolean): Promise<VolumeInfo[]> {
    const all: VolumeInfo[] = []
    let from: number | undefined
    do {
      const request = from === undefined ? { deleted } : { deleted, from }
      const page: ReplyOf<typeof LIST_VOLUMES> = await this.#ask(LIST_VOLUMES, request, true)
      all.push(...page.volumes)
      from = page.next
    } while (from !== undefined)
    return all
  }

  #ask<C extends ControlCall>(
    call: C,
    request: RequestOf<C>,
    isRepeatable: boolean,
  ): Promise<ReplyOf<C>> {
    return this.#mds.ask(call, request, { isRepeatable, patienceMs: this.#patienceMs })
  }
}
