import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../test/vectors.ts'
import { must } from '../base/assert.ts'
import { concat, hexOf, viewOf } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import { SILENT } from '../observe/observe.ts'
import { FuseFile } from './fuse-file.ts'
import { RamDevice } from './testing/ram-device.ts'

const REQUESTS = vectorsOf<{ name: string }>('fuse.txt', 'request')
const REPLIES = vectorsOf<{ name: string }>('fuse.txt', 'reply')

class Kernel {
  readonly device: RamDevice
  readonly file: FuseFile
  readonly replies: Uint8Array[] = []
  rooms = 0

  constructor(device = new RamDevice(MIB)) {
    this.device = device
    this.file = new FuseFile(device, this, SILENT)
  }
  reply(parts: readonly Uint8Array[]): void {
    this.replies.push(concat(parts))
  }
  hasRoom(): void {
    this.rooms++
  }
  /** The answers that come when everything has settled. */
  async ask(request: Uint8Array): Promise<Uint8Array[]> {
    const before = this.replies.length
    this.file.handle(request)
    await new Promise((resolve) => setImmediate(resolve))
    return this.replies.slice(before)
  }
}

function request(name: string): Uint8Array {
  return must(
    REQUESTS.find((v) => v.fields.name === name),
    name,
  ).bytes.slice()
}

const errorOf = (reply: Uint8Array | undefined): number =>
  viewOf(must(reply, 'a reply')).getInt32(4, true)

describe('the file', () => {
  it('answers the kernel in its own layouts', async () => {
    const kernel = new Kernel()
    for (const { fields, bytes } of REQUESTS) {
      const expected = REPLIES.find((reply) => reply.fields.name === fields.name)
      const answers = (await kernel.ask(bytes)).map(hexOf)
      // FORGET is the one kind without an answer.
      const wanted = expected === undefined ? [] : [hexOf(expected.bytes)]
      expect({ name: fields.name, answers }).toEqual({ name: fields.name, answers: wanted })
    }
    expect(kernel.device.calls).toMatchObject({ write: 1, discard: 1, writeZeroes: 1, flush: 1 })
  })

  it('answers every kind of request that is cut short, and the next one', async () => {
    for (const { fields, bytes } of REQUESTS) {
      if (fields.name === 'forget') continue
      const kernel = new Kernel()
      for (let length = 40; length < bytes.byteLength; length++) {
        const answers = await kernel.ask(bytes.subarray(0, length))
        expect(`${fields.name} ${length}: ${answers.length}`).toBe(`${fields.name} ${length}: 1`)
      }
      expect(kernel.device.calls.write).toBe(0)
    }
  })

  it('is not opened for writing when the volume is read-only', async () => {
    const kernel = new Kernel(new RamDevice(MIB, true))
    expect(errorOf((await kernel.ask(request('open')))[0])).toBe(-30)
    const reading = request('open')
    viewOf(reading).setUint32(40, 0, true)
    expect(errorOf((await kernel.ask(reading))[0])).toBe(0)
  })

  it('keeps what it was given to write, not the memory in which it came', async () => {
    const kernel = new Kernel()
    let open = (): void => {}
    kernel.device.gate = new Promise((resolve) => (open = resolve))
    const write = request('write')
    await kernel.ask(write)
    write.fill(0)
    open()
    await new Promise((resolve) => setImmediate(resolve))
    expect(new TextDecoder().decode(kernel.device.bytes.subarray(4096, 4101))).toBe('hello')
  })

  it.each([
    ['FENCED', -30],
    ['NO_SPACE', -28],
    ['CLOSED', -108],
    ['DEADLINE_EXCEEDED', -110],
    ['DISK_FAILED', -5],
  ] as const)('says %s as errno %i', async (code, errno) => {
    const kernel = new Kernel()
    kernel.device.failure = new LemnisError(code)
    for (const name of ['read', 'write', 'fsync', 'punch-hole', 'zero-range']) {
      expect(errorOf((await kernel.ask(request(name)))[0])).toBe(errno)
    }
  })

  it('is full at its bound and says when there is room again', async () => {
    const kernel = new Kernel()
    let open = (): void => {}
    kernel.device.gate = new Promise((resolve) => (open = resolve))
    const read = request('read')
    viewOf(read).setUint32(48, 0, true)
    viewOf(read).setUint32(56, MIB, true)
    for (let i = 0; i < 64; i++) {
      expect(kernel.file.isFull).toBe(false)
      kernel.file.handle(read)
    }
    expect(kernel.file.isFull).toBe(true)
    open()
    await new Promise((resolve) => setImmediate(resolve))
    expect(kernel.rooms).toBe(1)
    expect(kernel.replies).toHaveLength(64)
  })

  it('gives a kernel that is too old or too new an error', async () => {
    const kernel = new Kernel()
    const old = request('init')
    viewOf(old).setUint32(44, 27, true)
    expect(errorOf((await kernel.ask(old))[0])).toBe(-5)
    const strange = request('init')
    viewOf(strange).setUint32(40, 8, true)
    expect(errorOf((await kernel.ask(strange))[0])).toBe(-5)
  })
})
