// Owns Protocol Buffers as far as etcd's API needs them: messages as plain objects, described by tables
// of their fields (https://protobuf.dev/programming-guides/encoding/). Fields that a table does not
// name are skipped. Numbers are safe integers; what does not fit, or ends early, is CORRUPT.

import { assert } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'

/** `id` is a number of 64 bits that is only compared, as hexadecimal digits; `u53` may be negative. */
type Scalar = 'u53' | 'flag' | 'id' | 'text' | 'bytes'
type Kind = Scalar | Schema
export interface Field<K extends Kind = Kind, M extends boolean = boolean> {
  readonly number: number
  readonly kind: K
  readonly isMany: M
}
export interface Schema {
  readonly [name: string]: Field
}

interface Scalars {
  u53: number
  flag: boolean
  id: string
  text: string
  bytes: Uint8Array
}
type ValueOf<K> = K extends keyof Scalars ? Scalars[K] : K extends Schema ? Message<K> : never
type FieldOf<F> =
  F extends Field<infer K, infer M>
    ? M extends true
      ? ValueOf<K>[]
      : K extends Schema
        ? Message<K> | null
        : ValueOf<K>
    : never
/** As it was read: what was not sent has its default, a message is null. */
export type Message<S extends Schema> = { readonly [N in keyof S]: FieldOf<S[N]> }
type GivenOf<K> = K extends keyof Scalars ? Scalars[K] : K extends Schema ? Given<K> : never
/** To be written: only what is given is sent, so that a given 0 of a `oneof` is seen. */
export type Given<S extends Schema> = {
  readonly [N in keyof S]?: S[N] extends Field<infer K, infer M>
    ? M extends true
      ? readonly GivenOf<K>[]
      : GivenOf<K>
    : never
}

export function one<const K extends Kind>(number: number, kind: K): Field<K, false> {
  return { number, kind, isMany: false }
}
export function many<const K extends Kind>(number: number, kind: K): Field<K, true> {
  return { number, kind, isMany: true }
}

const VARINT = 0
const FIXED_64 = 1
const LENGTH = 2
const FIXED_32 = 5
const WORD = 2 ** 32
const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true })

export function encodeMessage<S extends Schema>(schema: S, given: Given<S>): Uint8Array {
  const sink = new Sink()
  writeMessage(sink, schema, given)
  return sink.done()
}

export function decodeMessage<S extends Schema>(schema: S, bytes: Uint8Array): Message<S> {
  return readMessage(new Source(bytes), schema) as Message<S>
}

function writeMessage(sink: Sink, schema: Schema, given: Readonly<Record<string, unknown>>): void {
  for (const [name, { number, kind, isMany }] of Object.entries(schema)) {
    const value = given[name]
    if (value === undefined) continue
    for (const each of isMany ? (value as readonly unknown[]) : [value]) {
      writeField(sink, number, kind, each)
    }
  }
}

function writeField(sink: Sink, number: number, kind: Kind, value: unknown): void {
  if (kind === 'u53' || kind === 'flag') {
    sink.varint(number * 8 + VARINT)
    sink.varint(Number(value))
    return
  }
  assert(kind !== 'id', 'an id is only read')
  sink.varint(number * 8 + LENGTH)
  if (kind === 'bytes') sink.block(value as Uint8Array)
  else if (kind === 'text') sink.block(ENCODER.encode(value as string))
  else sink.block(encodeMessage(kind, value as Given<Schema>))
}

class Sink {
  #bytes = new Uint8Array(256)
  #length = 0

  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'a number that is not negative')
    this.#reserve(8)
    let rest = value
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) + 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#length++] = rest
  }

  block(bytes: Uint8Array): void {
    this.varint(bytes.byteLength)
    this.#reserve(bytes.byteLength)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.byteLength
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#bytes.byteLength) return
    const larger = new Uint8Array(Math.max(needed, this.#bytes.byteLength * 2))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

type FieldRow = readonly [name: string, field: Field]
const rowsOf = new WeakMap<Schema, Map<number, FieldRow>>()

function rowsByNumber(schema: Schema): Map<number, FieldRow> {
  let rows = rowsOf.get(schema)
  if (rows === undefined) {
    rows = new Map(Object.entries(schema).map((row) => [row[1].number, row]))
    rowsOf.set(schema, rows)
  }
  return rows
}

function readMessage(source: Source, schema: Schema): Record<string, unknown> {
  const message: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(schema)) message[name] = defaultOf(field)
  const rows = rowsByNumber(schema)
  while (!source.isAtEnd) {
    const tag = source.u53()
    const wire = tag % 8
    const row = rows.get(Math.floor(tag / 8))
    if (row === undefined) {
      source.skip(wire)
      continue
    }
    const [name, { kind, isMany }] = row
    const value = readField(source, wire, kind)
    if (isMany) (message[name] as unknown[]).push(value)
    else message[name] = value
  }
  return message
}

function readField(source: Source, wire: number, kind: Kind): unknown {
  const isNumber = kind === 'u53' || kind === 'flag' || kind === 'id'
  if (wire !== (isNumber ? VARINT : LENGTH)) throw corrupt('wire type')
  switch (kind) {
    case 'u53':
      return source.u53()
    case 'flag':
      return source.u53() !== 0
    case 'id':
      return source.id()
    case 'bytes':
      return source.block()
    case 'text':
      return source.text()
    default:
      return readMessage(new Source(source.block()), kind)
  }
}

function defaultOf({ kind, isMany }: Field): unknown {
  if (isMany) return []
  if (kind === 'u53') return 0
  if (kind === 'flag') return false
  if (kind === 'id') return '0'
  if (kind === 'text') return ''
  return kind === 'bytes' ? new Uint8Array(0) : null
}

class Source {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.byteLength
  }

  u53(): number {
    const [high, low] = this.#words()
    // Negative numbers are sent in two's complement of 64 bits.
    const value = (high >= WORD / 2 ? high - WORD : high) * WORD + low
    if (!Number.isSafeInteger(value)) throw corrupt('number')
    return value
  }

  id(): string {
    const [high, low] = this.#words()
    return high === 0 ? low.toString(16) : high.toString(16) + low.toString(16).padStart(8, '0')
  }

  block(): Uint8Array {
    const length = this.u53()
    const end = this.#at + length
    if (length < 0 || end > this.#bytes.byteLength) throw corrupt('length')
    const block = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return block
  }

  text(): string {
    try {
      return DECODER.decode(this.block())
    } catch (error) {
      throw error instanceof LemnisError ? error : corrupt('text')
    }
  }

  skip(wire: number): void {
    if (wire === VARINT) this.#words()
    else if (wire === LENGTH) this.block()
    else if (wire === FIXED_64) this.#at += 8
    else if (wire === FIXED_32) this.#at += 4
    else throw corrupt('wire type')
    if (this.#at > this.#bytes.byteLength) throw corrupt('end')
  }

  /** A varint of at most 64 bits, as two unsigned words. */
  #words(): [number, number] {
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw corrupt('end')
      const bits = byte & 0x7f
      // Four groups of seven bits fill 28; the fifth lies across both words.
      if (shift < 28) low += bits * 2 ** shift
      else if (shift > 28) high += bits * 2 ** (shift - 32)
      else {
        low += (bits & 0x0f) * 2 ** 28
        high += bits >>> 4
      }
      if (byte < 0x80) {
        if (high >= WORD) throw corrupt('number')
        return [high, low]
      }
    }
    throw corrupt('number')
  }
}

function corrupt(what: string): LemnisError {
  return new LemnisError('CORRUPT', { what: `message of etcd: ${what}` })
}
