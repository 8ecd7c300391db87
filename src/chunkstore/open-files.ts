// Owns the open files of a store: opened when somebody needs one, kept for the next, the longest
// unused closed past a limit. Invariant: a file that is in use stays open.

import type { Disk, DiskFile } from '../env/disk.ts'

interface Entry {
  readonly opening: Promise<DiskFile>
  readonly creates: boolean
  users: number
  /** Not to be given to anybody any more; told when it is closed. */
  forgotten: (() => void) | null
}

export interface Use {
  readonly file: DiskFile
  release(): void
}

export class OpenFiles {
  readonly #disk: Disk
  readonly #countMax: number
  /** By path, the longest unused first. */
  readonly #entries = new Map<string, Entry>()

  constructor(disk: Disk, countMax: number) {
    this.#disk = disk
    this.#countMax = countMax
  }

  /** The caller releases it soon. `create`: make it if it is not there. */
  async acquire(path: string, create: boolean): Promise<Use> {
    if (create) await this.#outlastReader(path)
    const entry = this.#entry(path, create)
    const release = (): void => this.#release(entry)
    try {
      return { file: await entry.opening, release }
    } catch (error) {
      if (this.#entries.get(path) === entry) this.#entries.delete(path)
      release()
      throw error
    }
  }

  /** Somebody may just be finding out that the file is not there: that is not the writer's error. */
  async #outlastReader(path: string): Promise<void> {
    for (;;) {
      const entry = this.#entries.get(path)
      if (entry === undefined || entry.creates) return
      entry.users++
      const isThere = await entry.opening.then(
        () => true,
        () => false,
      )
      this.#release(entry)
      if (isThere) return
      if (this.#entries.get(path) === entry) this.#entries.delete(path)
    }
  }

  /** With one user more. */
  #entry(path: string, create: boolean): Entry {
    let entry = this.#entries.get(path)
    if (entry === undefined) {
      const opening = this.#disk.open(path, create ? { create: true } : {})
      entry = { opening, creates: create, users: 0, forgotten: null }
    } else {
      this.#entries.delete(path)
    }
    this.#entries.set(path, entry)
    // Before others are closed to make room for it, or it might be the one.
    entry.users++
    if (this.#entries.size > this.#countMax) this.#closeUnused()
    return entry
  }

  #release(entry: Entry): void {
    entry.users--
    if (entry.users === 0 && entry.forgotten !== null) void close(entry).then(entry.forgotten)
    else if (this.#entries.size > this.#countMax) this.#closeUnused()
  }

  #closeUnused(): void {
    for (const [path, entry] of this.#entries) {
      if (this.#entries.size <= this.#countMax) return
      if (entry.users > 0) continue
      this.#entries.delete(path)
      void close(entry)
    }
  }

  /** Resolves when nobody has it open any more; the next acquire() opens what has the name then. */
  async forget(path: string): Promise<void> {
    const entry = this.#entries.get(path)
    if (entry === undefined) return
    this.#entries.delete(path)
    if (entry.users === 0) await close(entry)
    else {
      await new Promise<void>((resolve) => {
        entry.forgotten = resolve
      })
    }
  }

  async forgetAll(prefix: string): Promise<void> {
    for (const path of [...this.#entries.keys()]) {
      if (path.startsWith(prefix)) await this.forget(path)
    }
  }

  async close(): Promise<void> {
    await this.forgetAll('')
  }
}

/** What was written was synced, or is not needed: a failing close loses nothing. */
async function close(entry: Entry): Promise<void> {
  try {
    await (await entry.opening).close()
  } catch {
    // It was never open, or it is gone: either way nobody holds it.
  }
}
