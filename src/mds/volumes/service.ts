// Owns the composition of all that the MDS does for volumes: the namespace, its writers, and the end
// of deleted ones; and which call goes to whom. Load it before the server listens.

import {
  CLOSE_VOLUME,
  CREATE_VOLUME,
  DELETE_VOLUME,
  EMPTY_TRASH,
  GET_SEGMENTS,
  LIST_VOLUMES,
  OPEN_VOLUME,
  RENAME_VOLUME,
  RENEW_LEASE,
  RESIZE_VOLUME,
  RESTORE_VOLUME,
  SHOW_VOLUME,
} from '../../format/control/mds.ts'
import type { CallTable } from '../leading/calls.ts'
import type { MdsContext } from '../records.ts'
import { ChunkCaller } from './chunk-caller.ts'
import { Cleaner } from './cleaner.ts'
import { Volumes } from './volumes.ts'
import { Writers } from './writers.ts'

export class VolumeService {
  readonly volumes: Volumes
  readonly #writers: Writers
  readonly #caller: ChunkCaller
  readonly #cleaner: Cleaner

  private constructor(context: MdsContext, volumes: Volumes) {
    this.volumes = volumes
    this.#writers = new Writers(context, volumes)
    this.#caller = new ChunkCaller(context)
    this.#cleaner = new Cleaner(context, volumes, this.#caller)
  }

  static async load(context: MdsContext): Promise<VolumeService> {
    return new VolumeService(context, await Volumes.load(context))
  }

  /** Answers the calls about volumes, and begins to clean up. */
  start(calls: CallTable): void {
    const { volumes } = this
    const writers = this.#writers
    volumes.grantAll()
    calls.serve(CREATE_VOLUME, (request) => volumes.create(request))
    calls.serve(LIST_VOLUMES, (request) => volumes.list(request))
    calls.serve(SHOW_VOLUME, (request) => volumes.showNamed(request))
    calls.serve(RESIZE_VOLUME, (request) => volumes.resize(request))
    calls.serve(RENAME_VOLUME, (request) => volumes.rename(request))
    calls.serve(DELETE_VOLUME, (request) => volumes.delete(request))
    calls.serve(RESTORE_VOLUME, (request) => volumes.restore(request))
    calls.serve(EMPTY_TRASH, async (request) => {
      const emptied = await volumes.emptyTrash(request)
      this.#cleaner.wake()
      return emptied
    })
    calls.serve(OPEN_VOLUME, (request) => writers.open(request))
    calls.serve(RENEW_LEASE, (request) => writers.renew(request))
    calls.serve(CLOSE_VOLUME, (request) => writers.close(request))
    calls.serve(GET_SEGMENTS, (request) => writers.segments(request))
    this.#cleaner.start()
  }

  /** What lasts, for people. */
  waits(): { what: string; who: string; sinceMs: number; until: string }[] {
    return this.#cleaner.waits().map(({ volume, sinceMs, reason }) => ({
      what: `the chunks of a deleted volume are not all ended: ${reason}`,
      who: `volume ${volume.name} (${volume.id})`,
      sinceMs,
      until: 'their copysets have a leader',
    }))
  }

  async close(): Promise<void> {
    await Promise.all([this.#caller.close(), this.#cleaner.close()])
  }
}
