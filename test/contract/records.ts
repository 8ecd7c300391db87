// Owns what holds for every kind of record of the metadata store: it is written as its vector says, which is
// what older versions wrote, is read back as it was, and is CORRUPT wherever it is cut off.

import { describe, expect, it } from 'vitest'
import { decodeRecord, encodeRecord } from '../../src/format/records/record.ts'
import type { TSchema } from '../../src/format/schema.ts'
import { readVectors } from '../vectors.ts'

/** The name of a vector in metastore.txt, and what it says. */
export type RecordCase = readonly [name: string, schema: TSchema, value: unknown]

export function describeRecords(name: string, cases: readonly RecordCase[]): void {
  describe(`form of records: ${name}`, () => {
    const vectors = readVectors('metastore.txt')

    it.each(cases)('%s: is written as it always was, and read back', (vector, schema, value) => {
      const text = vectors.get(vector) ?? 'no vector'
      expect(encodeRecord(schema, value)).toBe(text)
      expect(decodeRecord(schema, { key: 'k', value: text })).toEqual(value)
    })

    it.each(cases)('%s: cut off anywhere it is CORRUPT, with its key', (vector, schema) => {
      const text = vectors.get(vector) ?? ''
      for (let length = 0; length < text.length; length++) {
        const item = { key: 'some/key', value: text.slice(0, length) }
        expect(() => decodeRecord(schema, item)).toThrow(/CORRUPT.*record=some\/key/)
      }
    })
  })
}
