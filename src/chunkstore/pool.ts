// Owns the names of chunk files: makes new ones, of files of deleted chunks where there are any, and
// takes back those that no manifest names any more. What such a file holds is never read: its new
// manifest row says that it has no blocks.

import type { Disk } from '../env/disk.ts'
import type { ChunkFile } from './chunk-file.ts'
import type { StoreLayout } from './directories.ts'
import { FILE_BYTES } from './layout.ts'
import type { OpenFiles } from './open-files.ts'

export class Pool {
  readonly #disk: Disk
  readonly #files: OpenFiles
  readonly #directory: string
  readonly #chunksDirectory: string
  readonly #countMax: number
  readonly #names: string[] = []
  #nextName = 1
  /** Changes of names, and how many of them are durable. */
  #changes = 0
  #durable = 0
  #syncing: Promise<void> = Promise.resolve()

  constructor(disk: Disk, files: OpenFiles, layout: StoreLayout, countMax: number) {
    this.#disk = disk
    this.#files = files
    this.#directory = layout.pool
    this.#chunksDirectory = layout.chunks
    this.#countMax = countMax
  }

  async open(): Promise<void> {
    for (const name of await this.#disk.list(this.#directory)) {
      if (this.#names.length < this.#countMax) this.#names.push(name)
      else await this.#disk.remove(`${this.#directory}/${name}`)
      const number = Number.parseInt(name, 10)
      if (number >= this.#nextName) this.#nextName = number + 1
    }
  }

  get usedBytes(): number {
    return this.#names.length * FILE_BYTES
  }

  /** Gives `file` its name; durable after syncNames(). */
  async create(file: ChunkFile): Promise<void> {
    const spare = this.#names.pop()
    if (spare !== undefined) {
      try {
        await this.#disk.rename(`${this.#directory}/${spare}`, file.path)
      } catch (error) {
        this.#names.push(spare)
        throw error
      }
    } else {
      const use = await this.#files.acquire(file.path, true)
      use.release()
    }
    file.exists = true
    this.#changes++
  }

  /** Takes a file that no durable manifest names. `keep`: there is room enough to keep it. */
  async recycle(file: ChunkFile, keep: boolean): Promise<void> {
    if (!file.exists) return
    await this.#files.forget(file.path)
    if (keep && this.#names.length < this.#countMax) {
      const name = `${this.#nextName++}.chunk`
      await this.#disk.rename(file.path, `${this.#directory}/${name}`)
      this.#names.push(name)
    } else {
      await this.#disk.remove(file.path)
    }
    file.exists = false
  }

  /** Gives all spare files back to the file system. */
  async empty(): Promise<void> {
    for (let name = this.#names.pop(); name !== undefined; name = this.#names.pop()) {
      await this.#disk.remove(`${this.#directory}/${name}`)
    }
  }

  /** Makes the names given so far durable. */
  syncNames(): Promise<void> {
    const wanted = this.#changes
    const done = this.#syncing.then(async () => {
      if (this.#durable >= wanted) return
      const changes = this.#changes
      await this.#disk.syncDirectory(this.#chunksDirectory)
      this.#durable = changes
    })
    this.#syncing = done.catch(() => {})
    return done
  }
}
