// The namespace against a model that is as plain as can be: arrays, searched from the beginning.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import type { VolumeRecord } from '../format/records/volume.ts'
import { Leases } from './leases.ts'
import { Namespace, type Planned } from './namespace.ts'
import { allocateSegments, dropSome, markCleaned, segmentsBetween } from './segments.ts'
import { volumeToShow } from './show.ts'
import {
  checkEpoch,
  closeForWriting,
  createVolume,
  deleteVolume,
  expiredVolumes,
  findReady,
  findReadyById,
  openForWriting,
  purgeVolume,
  renameVolume,
  resizeVolume,
  restoreVolume,
} from './volumes.ts'

const MIB = 1024 * 1024
const EXPIRY_MS = 100
const LEASE_MS = 10

interface ModelVolume {
  readonly id: number
  name: string
  state: 'ready' | 'deleted' | 'deleting' | 'gone'
  sizeMib: number
  epoch: number
  holder: string | null
  leaseEndsMs: number
  deletedMs: number
  /** Serial by index. */
  readonly segments: [index: number, serial: number][]
}

/** The same rules told differently: what happens to a list of volumes. */
class Model {
  readonly volumes: ModelVolume[] = []
  serial = 0
  nowMs = 0

  ready(name: string): ModelVolume | undefined {
    return this.volumes.find((v) => v.state === 'ready' && v.name === name)
  }

  run(step: Step): string {
    if (isNamed(step)) return this.runNamed(step)
    switch (step.do) {
      case 'wait':
        this.nowMs += step.ms
        return 'ok'
      case 'restore':
        return this.restore(step)
      case 'purge':
        return this.purge(step.id)
      case 'expire': {
        const due = this.volumes.filter(
          (v) => v.state === 'deleted' && v.deletedMs + EXPIRY_MS <= this.nowMs,
        )
        for (const { id } of due) this.purge(id)
        return `expired ${due.length}`
      }
      case 'drop':
        for (const v of this.volumes) if (v.state === 'deleting') v.state = 'gone'
        return 'ok'
      case 'segments-by-id': {
        const found = this.volumes.find((v) => v.id === step.id && v.state === 'ready')
        return found === undefined ? 'NOT_FOUND' : `${found.segments.length} segments`
      }
    }
  }

  runNamed(step: NamedStep): string {
    const volume = this.ready(step.name)
    if (step.do === 'create') {
      if (volume !== undefined) return 'ALREADY_EXISTS'
      this.volumes.push({
        id: this.volumes.length + 1,
        name: step.name,
        state: 'ready',
        sizeMib: step.sizeMib,
        epoch: 0,
        holder: null,
        leaseEndsMs: 0,
        deletedMs: 0,
        segments: [],
      })
      return `id ${this.volumes.length}`
    }
    return volume === undefined ? 'NOT_FOUND' : this.runOn(volume, step)
  }

  runOn(volume: ModelVolume, step: VolumeStep): string {
    const isHeld = volume.holder !== null && volume.leaseEndsMs > this.nowMs
    switch (step.do) {
      case 'resize':
        if (step.sizeMib < volume.sizeMib) return 'INVALID_ARGUMENT'
        volume.sizeMib = step.sizeMib
        return 'ok'
      case 'rename':
        if (step.to !== step.name && this.ready(step.to) !== undefined) return 'ALREADY_EXISTS'
        volume.name = step.to
        return 'ok'
      case 'delete':
        if (isHeld) return 'IN_USE'
        Object.assign(volume, { state: 'deleted', holder: null, epoch: volume.epoch + 1 })
        volume.deletedMs = this.nowMs
        return 'ok'
      case 'open':
        if (volume.holder !== step.client) {
          if (isHeld && !step.force) return 'IN_USE'
          volume.epoch++
          volume.holder = step.client
        }
        volume.leaseEndsMs = this.nowMs + LEASE_MS
        return `epoch ${volume.epoch}`
      case 'renew':
        if (volume.epoch !== step.epoch) return 'FENCED'
        if (volume.holder === step.client) volume.leaseEndsMs = this.nowMs + LEASE_MS
        return 'ok'
      case 'close':
        if (volume.holder === step.client && volume.epoch === step.epoch) volume.holder = null
        return 'ok'
      case 'allocate': {
        if (volume.epoch !== step.epoch) return 'FENCED'
        for (let index = step.from; index < step.from + step.count; index++) {
          if (volume.segments.some(([known]) => known === index)) continue
          volume.segments.push([index, this.serial++])
        }
        return JSON.stringify(
          volume.segments
            .filter(([i]) => i >= step.from && i < step.from + step.count)
            .toSorted((a, b) => a[0] - b[0]),
        )
      }
    }
  }

  restore({ name, id, to }: Extract<Step, { do: 'restore' }>): string {
    const own = this.volumes.filter(
      (v) => v.state === 'deleted' && v.name === name && (id === null || v.id === id),
    )
    const newest = own.toSorted((a, b) => b.deletedMs - a.deletedMs || b.id - a.id)[0]
    if (newest === undefined) return 'NOT_FOUND'
    if (this.ready(to) !== undefined) return 'ALREADY_EXISTS'
    newest.state = 'ready'
    newest.name = to
    return `id ${newest.id}`
  }

  purge(id: number): string {
    const volume = this.volumes.find((v) => v.id === id && v.state === 'deleted')
    if (volume === undefined) return 'NOT_FOUND'
    volume.state = 'deleting'
    volume.epoch++
    return 'ok'
  }
}

interface CreateStep {
  readonly do: 'create'
  readonly name: string
  readonly sizeMib: number
}
type VolumeStep = { readonly name: string } & (
  | { readonly do: 'resize'; readonly sizeMib: number }
  | { readonly do: 'rename'; readonly to: string }
  | { readonly do: 'delete' }
  | { readonly do: 'open'; readonly client: string; readonly force: boolean }
  | { readonly do: 'renew' | 'close'; readonly client: string; readonly epoch: number }
  | {
      readonly do: 'allocate'
      readonly epoch: number
      readonly from: number
      readonly count: number
    }
)
type Step =
  | NamedStep
  | {
      readonly do: 'restore'
      readonly name: string
      readonly id: number | null
      readonly to: string
    }
  | { readonly do: 'purge' | 'segments-by-id'; readonly id: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'expire' | 'drop' }

type NamedStep = CreateStep | VolumeStep

function isNamed(step: Step): step is NamedStep {
  return 'name' in step && step.do !== 'restore'
}

/** The namespace as the MDS uses it, without its store: what a plan wants is done at once. */
class Real {
  readonly space = new Namespace()
  readonly leases = new Leases(LEASE_MS)
  nowMs = 0

  do<T>(planned: Planned<T>): T {
    if (planned.change !== null) this.space.apply(planned.change)
    return planned.result
  }

  run(step: Step): string {
    try {
      return this.attempt(step)
    } catch (error) {
      if (error instanceof LemnisError) return error.code
      throw error
    }
  }

  attempt(step: Step): string {
    const { space } = this
    if (isNamed(step)) {
      return step.do === 'create'
        ? this.create(step)
        : this.attemptOn(findReady(space, step.name), step)
    }
    switch (step.do) {
      case 'wait':
        this.nowMs += step.ms
        return 'ok'
      case 'restore': {
        const { name, id, to } = step
        return `id ${this.do(restoreVolume(space, name, id ?? undefined, to)).id}`
      }
      case 'purge':
        this.do(purgeVolume(space, step.id))
        return 'ok'
      case 'expire': {
        const due = expiredVolumes(space, this.nowMs)
        for (const { id } of due) this.do(purgeVolume(space, id))
        return `expired ${due.length}`
      }
      case 'drop':
        for (const volume of space.list('deleting')) {
          this.do(markCleaned(volume, 99))
          while (!this.do(dropSome(space, volume.id, 2)));
        }
        return 'ok'
      case 'segments-by-id': {
        const { id } = findReadyById(space, step.id)
        return `${segmentsBetween(space, id, 0, 99).length} segments`
      }
    }
  }

  create({ name, sizeMib }: CreateStep): string {
    const stripes = { stripeUnitBytes: 0, stripeCount: 1 }
    const limits = { iopsMax: 0, bytesPerSecondMax: 0 }
    const wanted = { name, pool: 'p', sizeBytes: sizeMib * MIB, ...stripes, ...limits }
    return `id ${this.do(createVolume(this.space, wanted, this.nowMs)).id}`
  }

  attemptOn(volume: VolumeRecord, step: VolumeStep): string {
    const { space, leases, nowMs } = this
    switch (step.do) {
      case 'resize':
        this.do(resizeVolume(space, step.name, step.sizeMib * MIB))
        return 'ok'
      case 'rename':
        this.do(renameVolume(space, step.name, step.to))
        return 'ok'
      case 'delete':
        if (leases.leftMs(volume, nowMs) > 0) return 'IN_USE'
        this.do(deleteVolume(space, step.name, nowMs, EXPIRY_MS))
        leases.end(volume.id)
        return 'ok'
      case 'open': {
        const opener = { client: step.client, address: 'a', force: step.force }
        const opened = this.do(openForWriting(volume, opener, leases.leftMs(volume, nowMs), nowMs))
        leases.grant(volume.id, nowMs)
        return `epoch ${opened.epoch}`
      }
      case 'renew':
        checkEpoch(volume, step.epoch)
        if (volume.holder?.client === step.client) leases.grant(volume.id, nowMs)
        return 'ok'
      case 'close':
        if (this.do(closeForWriting(volume, step.client, step.epoch))) leases.end(volume.id)
        return 'ok'
      case 'allocate': {
        checkEpoch(volume, step.epoch)
        const choose = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1)
        const to = step.from + step.count
        const segments = this.do(allocateSegments(space, volume, step.from, to, choose))
        if (segments.some(({ groups }) => groups.length !== 64)) return 'groups are missing'
        return JSON.stringify(segments.map((s) => [s.index, (s.firstChunk - 1) / 64]))
      }
    }
  }
}

const name = fc.constantFrom('a', 'b', 'c')
const client = fc.constantFrom('x', 'y')
const id = fc.integer({ min: 1, max: 6 })
const epoch = fc.integer({ min: 0, max: 4 })
const sizeMib = fc.integer({ min: 1, max: 4 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('create' as const), name, sizeMib }),
  fc.record({ do: fc.constant('resize' as const), name, sizeMib }),
  fc.record({ do: fc.constant('rename' as const), name, to: name }),
  fc.record({ do: fc.constant('delete' as const), name }),
  fc.record({ do: fc.constant('open' as const), name, client, force: fc.boolean() }),
  fc.record({ do: fc.constantFrom('renew' as const, 'close' as const), name, client, epoch }),
  fc.record({
    do: fc.constant('allocate' as const),
    name,
    epoch,
    from: fc.nat(4),
    count: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    do: fc.constant('restore' as const),
    name,
    id: fc.option(id),
    to: name,
  }),
  fc.record({ do: fc.constantFrom('purge' as const, 'segments-by-id' as const), id }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 4, 10, 60) }),
  fc.record({ do: fc.constantFrom('expire' as const, 'drop' as const) }),
)

function stateOf(model: Model): unknown[] {
  return model.volumes
    .filter((v) => v.state !== 'gone')
    .map(({ id, name, state, sizeMib, epoch, holder, segments }) => {
      const sorted = segments.toSorted((a, b) => a[0] - b[0])
      return { id, name, state, sizeMib, epoch, holder, segments: sorted }
    })
}

function stateOfReal({ space }: Real): unknown[] {
  return [...space.volumes()]
    .toSorted((a, b) => a.id - b.id)
    .map(({ id, name, state, sizeBytes, epoch, holder }) => ({
      id,
      name,
      state,
      sizeMib: sizeBytes / MIB,
      epoch,
      holder: holder?.client ?? null,
      segments: segmentsBetween(space, id, 0, 99).map((s) => [s.index, (s.firstChunk - 1) / 64]),
    }))
}

describe('the namespace', () => {
  it('does what the model does', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const model = new Model()
        const real = new Real()
        for (const one of steps) {
          expect(real.run(one)).toBe(model.run(one))
          expect(stateOfReal(real)).toEqual(stateOf(model))
        }
      }),
      { numRuns: 600 },
    )
  })

  it('shows a holder only while its lease lasts, and segments as a number', () => {
    const real = new Real()
    real.run({ do: 'create', name: 'a', sizeMib: 1 })
    real.run({ do: 'open', name: 'a', client: 'x', force: false })
    const volume = findReady(real.space, 'a')
    expect(volumeToShow(volume, 3, true)).toMatchObject({
      segmentsAllocated: 3,
      holder: { client: 'x', address: 'a', sinceMs: 0 },
    })
    expect(volumeToShow(volume, 3, false).holder).toBeUndefined()
  })

  it('says who holds a volume, and that a deleted one is in the recycle bin', () => {
    const real = new Real()
    real.run({ do: 'create', name: 'a', sizeMib: 1 })
    real.run({ do: 'open', name: 'a', client: 'x', force: false })
    const held = findReady(real.space, 'a')
    const other = { client: 'y', address: 'b', force: false }
    expect(() => openForWriting(held, other, 7.2, 5)).toThrow(/holder=x.*leaseEndsInMs=8/)
    real.nowMs = 50
    real.run({ do: 'delete', name: 'a' })
    expect(() => findReady(real.space, 'a')).toThrow(/inTrash=true/)
    expect(() => findReadyById(real.space, 1)).toThrow(/state=deleted/)
    real.run({ do: 'purge', id: 1 })
    expect(() => restoreVolume(real.space, 'a', undefined, 'a')).toThrow(/deleted for good/)
  })
})
