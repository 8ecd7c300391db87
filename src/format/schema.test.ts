import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Static, Type } from './schema.ts'

const Disk = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 4, pattern: '^[a-z]+$' }),
  bytes: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  share: Type.Optional(Type.Number({ minimum: 0 })),
  state: Type.Union([Type.Literal('ok'), Type.Literal('full')]),
  tags: Type.Array(Type.String(), { maxItems: 2 }),
  isFast: Type.Boolean(),
})
const WELL: Static<typeof Disk> = { name: 'sda', bytes: 1, state: 'ok', tags: [], isFast: true }

const faultOf = (changes: object): string | null => {
  const fault = Disk.fault({ ...WELL, ...changes })
  return fault === null ? null : `${fault.path} ${fault.reason}`
}

describe('a schema', () => {
  it('takes what has its shape, optional members missing, and members it does not know', () => {
    expect(faultOf({})).toBeNull()
    expect(faultOf({ share: 0.5 })).toBeNull()
    expect(faultOf({ share: undefined })).toBeNull()
    expect(faultOf({ newer: { than: 'this' } })).toBeNull()
  })

  it.each([
    [{ name: 7 }, '/name must be a string'],
    [{ name: '' }, '/name must have from 1 to 4 characters'],
    [{ name: 'sdabc' }, '/name must have from 1 to 4 characters'],
    [{ name: 'SDA' }, '/name must match ^[a-z]+$'],
    [{ bytes: 1.5 }, '/bytes must be a whole number'],
    [{ bytes: '1' }, '/bytes must be a whole number'],
    [{ bytes: -1 }, '/bytes must be from 0 to 9007199254740991'],
    [{ share: Number.NaN }, '/share must be a number'],
    [{ share: null }, '/share must be a number'],
    [{ state: 'bad' }, '/state must be one of the values allowed'],
    [{ tags: {} }, '/tags must be an array'],
    [{ tags: ['a', 'b', 'c'] }, '/tags must have from 0 to 2 items'],
    [{ tags: ['a', 1] }, '/tags/1 must be a string'],
    [{ isFast: 1 }, '/isFast must be true or false'],
    [{ isFast: undefined }, '/isFast is missing'],
  ])('refuses %j and says where', (changes, says) => {
    expect(faultOf(changes)).toBe(says)
  })

  it('refuses what is no object, and members that only the prototype has', () => {
    for (const value of [null, [], 'a', 1, undefined]) {
      expect(Disk.fault(value)).toEqual({ path: '', reason: 'must be an object' })
    }
    const shape = Type.Object({ constructor: Type.Optional(Type.String()) })
    expect(shape.fault({})).toBeNull()
  })

  it('says of a union what is wrong in the part that fits best', () => {
    const order = Type.Union([
      Type.Object({ kind: Type.Literal('found'), group: Type.Object({ id: Type.Integer() }) }),
      Type.Object({ kind: Type.Literal('lead') }),
    ])
    expect(order.fault({ kind: 'lead' })).toBeNull()
    expect(order.fault({ kind: 'found', group: { id: 'x' } })?.path).toBe('/group/id')
  })

  it('refuses nothing that it was made from, and never throws, whatever JSON it gets', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const fault = Disk.fault(value)
        const list = Type.Array(Type.Optional(Disk)).fault([value])
        expect(list === null).toBe(fault === null)
      }),
    )
    const valid = fc.record(
      {
        name: fc.stringMatching(/^[a-z]{1,4}$/),
        bytes: fc.nat(),
        share: fc.double({ min: 0, noNaN: true, max: 1e9 }),
        state: fc.constantFrom('ok', 'full'),
        tags: fc.array(fc.string(), { maxLength: 2 }),
        isFast: fc.boolean(),
      },
      { requiredKeys: ['name', 'bytes', 'state', 'tags', 'isFast'] },
    )
    fc.assert(
      fc.property(valid, (value) => {
        expect(Disk.fault(value)).toBeNull()
      }),
    )
  })
})
