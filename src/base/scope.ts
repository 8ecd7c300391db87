// Owns the closing of things in the reverse order of their opening, on every path (Node 20 has no
// AsyncDisposableStack).

import { assert } from './assert.ts'

export interface Closable {
  close(): Promise<void> | void
}

export class Scope implements AsyncDisposable {
  readonly #owned: Closable[] = []
  #closing: Promise<void> | null = null

  own<T extends Closable>(thing: T): T {
    assert(this.#closing === null, 'scope: own after close')
    this.#owned.push(thing)
    return thing
  }

  /**
   * Closes all, last opened first; the first error is thrown after all have been tried. Further calls
   * wait for the first one.
   */
  async close(): Promise<void> {
    this.#closing ??= this.#closeAll()
    await this.#closing
  }

  async #closeAll(): Promise<void> {
    const errors: unknown[] = []
    for (let thing = this.#owned.pop(); thing !== undefined; thing = this.#owned.pop()) {
      try {
        await thing.close()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
