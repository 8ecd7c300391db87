// Owns where a store's keys lie in etcd: behind its prefix. Markers of commits begin with a blank, which
// no key of an item does, so that no range over items meets them.

import { LemnisError } from '../base/errors.ts'
import type { MetaItem } from '../env/metastore.ts'

interface Stored {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly modRevision: number
  readonly createRevision: number
}

const FIRST_KEY = '!'
const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true })

export class EtcdKeys {
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  bytesOf(key: string): Uint8Array {
    return ENCODER.encode(this.#prefix + key)
  }

  /** From `from` on, but behind the markers. */
  startOf(from: string): Uint8Array {
    return this.bytesOf(from < FIRST_KEY ? FIRST_KEY : from)
  }

  markerOf(lease: number): string {
    return ` commits/${lease.toString(16)}`
  }

  keyOf(bytes: Uint8Array): string {
    return DECODER.decode(bytes).slice(this.#prefix.length)
  }

  itemOf({ key, value, modRevision, createRevision }: Stored): MetaItem {
    const name = this.keyOf(key)
    try {
      const text = DECODER.decode(value)
      return { key: name, value: text, revision: modRevision, createdRevision: createRevision }
    } catch (error) {
      throw new LemnisError('CORRUPT', { what: 'metadata store', key: name }, error)
    }
  }
}
