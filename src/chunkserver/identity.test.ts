import { describe, expect, it } from 'vitest'
import { codeOf } from '../../test/code-of.ts'
import type { Env } from '../env/env.ts'
import { SimHost } from '../sim/host.ts'
import { SimNetwork } from '../sim/network.ts'
import { World } from '../sim/world.ts'
import { readChecked, writeChecked } from './checked-file.ts'
import { IDENTITY_NAME, type Identity, openIdentity, writeIdentity } from './identity.ts'

/** A machine whose processes do one thing each. */
class OneDisk {
  readonly world = new World({ seed: 3 })
  readonly host: SimHost

  constructor() {
    const network = new SimNetwork(this.world)
    this.host = new SimHost(this.world, { name: 'h', network })
    network.add(this.host)
  }

  async run<T>(work: (env: Env) => Promise<T>): Promise<T> {
    const result = new Promise<T>((resolve, reject) => {
      this.host.start((env) => void work(env).then(resolve, reject))
    })
    try {
      return await this.world.settle(result)
    } finally {
      this.host.crash()
    }
  }

  open(zone = 'z1', server = 's1'): Promise<Identity> {
    return this.run((env) => openIdentity(env, 'disk', zone, server))
  }
}

describe('the identity of a disk', () => {
  it('is made once, and is the same after a power loss', async () => {
    const disk = new OneDisk()
    const first = await disk.open()
    expect(first).toMatchObject({ id: 0, clusterId: '', token: '', zone: 'z1', server: 's1' })
    expect(first.diskId).toMatch(/^[0-9a-f]{32}$/)
    disk.host.powerLoss()
    expect(await disk.open('other', 'other')).toEqual(first)
  })

  it('is completed in one step', async () => {
    const disk = new OneDisk()
    const made = await disk.open()
    const whole = { ...made, id: 4, clusterId: 'c', token: 't' }
    await disk.run((env) => writeIdentity(env, 'disk', whole))
    disk.host.powerLoss()
    expect(await disk.open()).toEqual(whole)
  })

  it('differs from disk to disk', async () => {
    const one = await new OneDisk().run((env) => openIdentity(env, 'a', 'z', 's'))
    const disk = new OneDisk()
    const other = await disk.run(async (env) => {
      env.random.u32()
      return openIdentity(env, 'b', 'z', 's')
    })
    expect(one.diskId).not.toBe(other.diskId)
  })

  it('is old or new after a crash at any moment of its writing', async () => {
    const seen = new Set<number>()
    for (let crashUs = 0; crashUs < 3000; crashUs += 37) {
      const disk = new OneDisk()
      Object.assign(disk.host.disk.faults, { latencyMinMs: 0.1, latencyMaxMs: 0.5 })
      const made = await disk.open()
      const whole = { ...made, id: 4, clusterId: 'c', token: 't' }
      disk.host.start((env) => void writeIdentity(env, 'disk', whole))
      await disk.world.run({ untilUs: disk.world.nowUs + crashUs })
      disk.host.powerLoss()
      const found = await disk.open()
      expect([made, whole]).toContainEqual(found)
      seen.add(found.id)
    }
    expect(seen).toEqual(new Set([0, 4]))
  })

  it('is not given to a directory that has something else in it', async () => {
    const disk = new OneDisk()
    await disk.run(async (env) => {
      await env.disk.makeDirectory('disk')
      await (await env.disk.open('disk/precious', { create: true })).close()
    })
    expect(await codeOf(disk.open())).toBe('WRONG_DISK')
    expect(await disk.run((env) => env.disk.list('disk'))).toEqual(['precious'])
  })

  it('is given to one with a lock, lost+found and the rest of a first try', async () => {
    const disk = new OneDisk()
    await disk.run(async (env) => {
      await env.disk.makeDirectory('disk')
      for (const name of ['lock', 'lost+found', 'identity.new']) {
        await (await env.disk.open(`disk/${name}`, { create: true })).close()
      }
    })
    expect(await codeOf(disk.open())).toBe('no error')
  })

  it('is refused with any bit changed', async () => {
    const disk = new OneDisk()
    await disk.open()
    const size = await disk.run(async (env) => {
      const file = await env.disk.open(`disk/${IDENTITY_NAME}`)
      return file.sizeBytes()
    })
    for (let at = 0; at < size; at += 3) {
      const flip = (env: Env): Promise<void> => flipBit(env, `disk/${IDENTITY_NAME}`, at)
      await disk.run(flip)
      expect(await codeOf(disk.open())).toBe('CORRUPT')
      await disk.run(flip)
    }
    expect(await codeOf(disk.open())).toBe('no error')
  })

  it('is refused in another format, and without a field', async () => {
    const disk = new OneDisk()
    const made = await disk.open()
    const write = (fields: object): Promise<void> =>
      disk.run((env) => writeChecked(env, 'disk', IDENTITY_NAME, { format: 1, ...fields }))
    await write({ ...made, format: 2 })
    expect(await codeOf(disk.open())).toBe('CORRUPT')
    await write({ ...made, id: -1 })
    expect(await codeOf(disk.open())).toBe('CORRUPT')
    await write({ ...made, token: null })
    expect(await codeOf(disk.open())).toBe('CORRUPT')
    await write({ ...made, later: 'a field of a newer version' })
    expect(await disk.open()).toEqual(made)
  })
})

async function flipBit(env: Env, path: string, at: number): Promise<void> {
  const file = await env.disk.open(path)
  const byte = new Uint8Array(1)
  await file.read(byte, at)
  byte[0] = (byte[0] as number) ^ 0x10
  await file.write(byte, at)
  await file.sync()
  await file.close()
}

describe('a checked file', () => {
  it('gives back what was written', async () => {
    const disk = new OneDisk()
    const fields = { list: [[1, 'a']], text: 'ü\n' }
    await disk.run(async (env) => {
      await env.disk.makeDirectory('disk')
      await writeChecked(env, 'disk', 'file', { other: 'x'.repeat(500) })
      await writeChecked(env, 'disk', 'file', fields)
    })
    expect(await disk.run((env) => readChecked(env, 'disk', 'file'))).toEqual(fields)
  })
})
