import { describe, expect, it } from 'vitest'
import { EMPTY } from '../base/bytes.ts'
import type { Clock } from '../env/clock.ts'
import { type SnapshotSink, TRANSFER_END } from '../raft/snapshot.ts'
import type { ReplicaId } from '../raft/types.ts'
import { hostConfig } from './config.ts'
import { Receptions } from './reception.ts'
import type { Replica } from './replica.ts'
import type { GroupId } from './replica-id.ts'
import {
  decodeTransferId,
  encodeBegin,
  encodeFinish,
  encodeHave,
  encodePiece,
} from './transfer-codec.ts'

const group = 3 as GroupId
const id = (n: number): ReplicaId => n as ReplicaId
const config = { epoch: 1, voters: [id(1), id(2)], outgoing: [], learners: [], learnersNext: [] }

function offer(index: number, term = 4): Uint8Array {
  return encodeBegin({ group, from: id(1), to: id(2), term, mark: { index, term, config } })
}

const IDLE = { monotonicMs: () => 0, wallMs: () => 0 } as unknown as Clock

/** A replica whose machine makes ready to receive when the test says so. */
function make(clock = IDLE): {
  receptions: Receptions
  installed: number[]
  written: unknown[][]
  ready: (() => void)[]
} {
  const installed: number[] = []
  const written: unknown[][] = []
  const ready: (() => void)[] = []
  const sink = {
    wanted: [],
    resumeAt: () => 0,
    have: async (item: number) => new Uint8Array([item]),
    write: async (...piece: unknown[]) => void written.push(piece),
  } as unknown as SnapshotSink
  const replica = {
    id: id(2),
    closed: false,
    installing: false,
    installsOverNewer: false,
    status: () => ({ term: 4, commit: 10 }),
    machine: { receive: () => new Promise((resolve) => ready.push(() => resolve(sink))) },
    install: async (_: SnapshotSink, message: { mark: { index: number } }) => {
      installed.push(message.mark.index)
      return true
    },
  } as unknown as Replica
  return {
    receptions: new Receptions(clock, hostConfig(), (g) => (g === group ? replica : undefined)),
    installed,
    written,
    ready,
  }
}

describe('Receptions', () => {
  it('take a state in and install it once', async () => {
    const { receptions, installed, written, ready } = make()
    const begun = receptions.begin(offer(20), EMPTY)
    ready.shift()?.()
    const transfer = decodeTransferId((await begun).body)
    const about = { group, transfer, item: 7 }
    expect((await receptions.have(encodeHave(about))).payload).toEqual(new Uint8Array([7]))
    const piece = { ...about, cursor: 0, next: TRANSFER_END }
    await receptions.piece(encodePiece(piece), EMPTY)
    expect(written).toEqual([[7, 0, EMPTY, TRANSFER_END]])
    await receptions.finish(encodeFinish(group, transfer))
    expect(installed).toEqual([20])
    const again = receptions.finish(encodeFinish(group, transfer))
    await expect(again).rejects.toMatchObject({ code: 'CLOSED' })
    const late = receptions.have(encodeHave(about))
    await expect(late).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('do not end a transfer while a newer one takes its place', async () => {
    const { receptions, installed, ready } = make()
    const first = receptions.begin(offer(20), EMPTY)
    ready.shift()?.()
    const transfer = decodeTransferId((await first).body)
    const second = receptions.begin(offer(30), EMPTY)
    const late = receptions.finish(encodeFinish(group, transfer))
    await expect(late).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(receptions.begin(offer(31), EMPTY)).rejects.toMatchObject({ code: 'OVERLOADED' })
    ready.shift()?.()
    await receptions.finish(encodeFinish(group, decodeTransferId((await second).body)))
    expect(installed).toEqual([30])
  })

  it('answer what comes above their rate so late that it is kept, but not too late', async () => {
    let nowMs = 0
    const delaysMs: number[] = []
    const clock = {
      ...IDLE,
      monotonicMs: () => nowMs,
      after: (delayMs: number, fire: () => void) => {
        delaysMs.push(delayMs)
        fire()
      },
    } as unknown as Clock
    const { receptions, ready } = make(clock)
    const begun = receptions.begin(offer(20), EMPTY)
    ready.shift()?.()
    const transfer = decodeTransferId((await begun).body)
    const piece = encodePiece({ group, transfer, item: 7, cursor: 0, next: TRANSFER_END })
    const bytes = new Uint8Array(100_000)
    receptions.limit(1_000_000)
    // The first two fill the burst of a tenth of a second; then each has to wait for those before.
    for (let i = 0; i < 4; i++) await receptions.piece(piece, bytes)
    expect(delaysMs.map(Math.round)).toEqual([100, 200])
    // A quarter of the time in which the sender gives up is the most, and is not added up.
    for (let i = 0; i < 40; i++) await receptions.piece(piece, bytes)
    expect(Math.max(...delaysMs)).toBe(1250)
    expect(receptions.receivedBytes).toBe(4_400_000)
    nowMs += 2000
    await receptions.piece(piece, bytes)
    expect(delaysMs).toHaveLength(42)
  })

  it('refuse what is old, for somebody else, or no news', async () => {
    const { receptions } = make()
    await expect(receptions.begin(offer(20, 3), EMPTY)).rejects.toMatchObject({
      code: 'NOT_LEADER',
    })
    expect(decodeTransferId((await receptions.begin(offer(10), EMPTY)).body)).toBe(0)
    const stranger = encodeBegin({
      group,
      from: id(1),
      to: id(9),
      term: 4,
      mark: { index: 20, term: 4, config },
    })
    await expect(receptions.begin(stranger, EMPTY)).rejects.toMatchObject({ code: 'NO_SUCH_GROUP' })
  })
})
