import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { hexOf, viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import {
  applyChange,
  configurationBytes,
  decodeChange,
  decodeConfiguration,
  encodeChange,
  encodeConfiguration,
  enterJoint,
  initialConfiguration,
  isJoint,
  isVoter,
  leaveJoint,
  membersOf,
} from './configuration.ts'
import type { ConfigChange, ConfigChangeStep, Configuration, ReplicaId } from './types.ts'

const ids = (...numbers: number[]): ReplicaId[] => numbers as ReplicaId[]

const replica = fc.integer({ min: 1, max: 7 }) as fc.Arbitrary<ReplicaId>
const step: fc.Arbitrary<ConfigChangeStep> = fc.record({
  action: fc.constantFrom('add-voter', 'add-learner', 'remove'),
  replica,
})

const CHANGES = vectorsOf<ConfigChange>('raft.txt', 'change')
const CONFIGURATIONS = vectorsOf<Configuration>('raft.txt', 'configuration')

function encoded(config: Configuration): Uint8Array {
  const bytes = new Uint8Array(configurationBytes(config))
  expect(encodeConfiguration(config, viewOf(bytes), 0)).toBe(bytes.byteLength)
  return bytes
}

describe('a change of configuration', () => {
  it('demotes a voter only after the joint phase', () => {
    const joint = enterJoint(initialConfiguration(ids(1, 2, 3)), [
      { action: 'add-learner', replica: ids(3)[0] as ReplicaId },
      { action: 'add-voter', replica: ids(4)[0] as ReplicaId },
    ]) as Configuration
    expect(joint).toEqual({
      epoch: 2,
      voters: ids(1, 2, 4),
      outgoing: ids(1, 2, 3),
      learners: [],
      learnersNext: ids(3),
    })
    expect(isVoter(joint, 3 as ReplicaId)).toBe(true)
    expect(leaveJoint(joint)).toEqual({
      epoch: 3,
      voters: ids(1, 2, 4),
      outgoing: [],
      learners: ids(3),
      learnersNext: [],
    })
  })

  it('keeps every configuration sound, whatever is asked', () => {
    fc.assert(
      fc.property(fc.array(fc.array(step, { minLength: 1, maxLength: 4 })), (changes) => {
        let config = initialConfiguration(ids(1, 2, 3))
        for (const steps of changes) {
          const joint = enterJoint(config, steps)
          if (joint === null) continue
          expect(isJoint(joint) && joint.epoch === config.epoch + 1).toBe(true)
          expect(joint.outgoing).toEqual(config.voters)
          expect(enterJoint(joint, steps)).toBeNull()
          const next = leaveJoint(joint) as Configuration
          expect(leaveJoint(next)).toBeNull()
          expect(next.voters.length).toBeGreaterThan(0)
          const members = membersOf(next)
          expect(members.length).toBe(next.voters.length + next.learners.length)
          for (const { action, replica: id } of steps) {
            expect(next.voters.includes(id)).toBe(action === 'add-voter')
            expect(next.learners.includes(id)).toBe(action === 'add-learner')
          }
          config = next
        }
      }),
    )
  })

  it('is refused where it makes no sense', () => {
    const config = { ...initialConfiguration(ids(1)), learners: ids(5) }
    const refused = (...steps: [ConfigChangeStep['action'], number][]): void => {
      const asked = steps.map(([action, id]) => ({ action, replica: id as ReplicaId }))
      expect(applyChange(config, { phase: 'enter', steps: asked })).toBeNull()
    }
    refused()
    refused(['remove', 1])
    refused(['remove', 2])
    refused(['add-voter', 1])
    refused(['add-learner', 5])
    refused(['add-voter', 0])
    refused(['add-voter', 2], ['remove', 2])
    refused(...Array.from({ length: 63 }, (_, i): ['add-voter', number] => ['add-voter', 10 + i]))
    expect(applyChange(config, { phase: 'leave' })).toBeNull()
  })
})

describe('the bytes', () => {
  it('of changes and configurations are golden', () => {
    expect([CHANGES.length, CONFIGURATIONS.length]).toEqual([2, 3])
    for (const { fields, bytes } of CHANGES) {
      expect(hexOf(encodeChange(fields))).toBe(hexOf(bytes))
      expect(decodeChange(bytes)).toEqual(fields)
    }
    for (const { fields, bytes } of CONFIGURATIONS) {
      expect(hexOf(encoded(fields))).toBe(hexOf(bytes))
      const decoded = decodeConfiguration(viewOf(bytes), 0)
      expect(decoded).toEqual({ config: fields, end: bytes.byteLength })
    }
  })

  it('are refused at every truncation', () => {
    for (const { bytes } of CHANGES) {
      for (let n = 0; n < bytes.byteLength; n++) {
        expect(() => decodeChange(bytes.subarray(0, n))).toThrow(LemnisError)
      }
    }
    for (const { bytes } of CONFIGURATIONS) {
      for (let n = 0; n < bytes.byteLength; n++) {
        expect(() => decodeConfiguration(viewOf(bytes.subarray(0, n)), 0)).toThrow(LemnisError)
      }
    }
  })

  it('of a configuration may lie between others', () => {
    const { fields: config } = CONFIGURATIONS[2] as (typeof CONFIGURATIONS)[number]
    const bytes = new Uint8Array(7 + configurationBytes(config) + 5).fill(0xff)
    const end = encodeConfiguration(config, viewOf(bytes), 7)
    expect(decodeConfiguration(viewOf(bytes), 7)).toEqual({ config, end })
    expect(bytes.subarray(end)).toEqual(new Uint8Array(5).fill(0xff))
  })

  it('that are any bytes give a value or CORRUPT', () => {
    const known = [...CHANGES, ...CONFIGURATIONS].map((vector) => vector.bytes)
    const damage = fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(fc.constantFrom(...known), damage, (sound, changes) => {
        const bytes = sound.slice()
        for (const [at, byte] of changes) bytes[at % bytes.byteLength] = byte
        for (const decode of [
          () => decodeChange(bytes),
          () => decodeConfiguration(viewOf(bytes), 0),
        ]) {
          try {
            expect(decode()).toBeTypeOf('object')
          } catch (error) {
            expect((error as LemnisError).code).toBe('CORRUPT')
          }
        }
      }),
      { numRuns: 3000 },
    )
  })
})
