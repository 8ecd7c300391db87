// Owns the election of one MDS among several, by the rules of etcd's own (client/v3/concurrency/election.go):
// every candidate puts a key under a prefix, with its lease; the oldest key leads. Invariant: who leads
// has read, without doubt, that its own key is there and the oldest, and its lease has not run out by
// its own clock; every write is bound to that key besides.
// Unlike etcd's, each looks at all keys whenever one changes rather than at its predecessor alone: there
// are few MDS, and all of them tell their callers who leads.

import { asLemnisError, type ErrorCode, LemnisError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../env/clock.ts'
import type {
  MetaChanged,
  MetaCondition,
  MetaItem,
  MetaStore,
  MetaWatch,
} from '../../env/metastore.ts'
import type { Random } from '../../env/random.ts'
import { CandidateRecord } from '../../format/records/candidate.ts'
import { decodeRecord, encodeRecord } from '../../format/records/record.ts'
import type { Observer } from '../../observe/observe.ts'
import type { ElectionConfig } from './election-config.ts'
import { type LossReason, Session } from './session.ts'

export interface ElectionOptions {
  readonly clock: Clock
  readonly random: Random
  readonly observer: Observer
  readonly store: MetaStore
  readonly config: ElectionConfig
  readonly candidate: CandidateRecord
  /** Those that stand have changed, as far as this one knows. */
  readonly onSeen?: () => void
}

/** An MDS that stands for election. */
export interface Candidate extends CandidateRecord {
  /** The age of its key: the smallest leads. Of two leaders the later one has the greater. */
  readonly term: number
}

/** What an elected MDS holds. */
export interface Leadership {
  /** The revision that made the own key; grows from one leader to the next. */
  readonly term: number
  /** Holds in the store while nobody else can have been elected. */
  readonly condition: MetaCondition
  /** By the clock, now. False once is false for ever. */
  isValid(): boolean
  /** Called once, when it is over, also after resign(). */
  onLost: ((reason: LossReason) => void) | null
  /** Leads no more, and lets the next one lead at once. */
  resign(): Promise<void>
}

/** A session that stands, from its key on. */
interface Standing {
  readonly session: Session
  readonly key: string
  readonly term: number
  readonly won: () => void
}

const PREFIX = 'election/'
const END = 'election/\x7f'
const CANDIDATES_MAX = 256
const KEY_WORDS = 4
/** With these the store says that asking again is of no use. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['CLOSED', 'DISK_FAILED', 'INVALID_ARGUMENT'])

export class Election {
  readonly #options: ElectionOptions
  readonly #watch: MetaWatch
  #candidates: readonly Candidate[] = []
  #predecessor: Candidate | null = null
  #standing: Standing | null = null
  #session: Session | null = null
  #lookTimer: Timer | null = null
  #isLooking = false
  #mustLook = false
  #wake: (() => void) | null = null
  #isClosed = false

  constructor(options: ElectionOptions) {
    this.#options = options
    this.#watch = options.store.watch(PREFIX, END, {
      onStarted: () => this.#look(),
      onChanges: (changes) => this.#changed(changes),
    })
    this.#look()
  }

  /** Those that stand, the one that leads first, as this one has seen last. */
  get candidates(): readonly Candidate[] {
    return this.#candidates
  }

  /** The last one that was seen to lead before this one did. */
  get predecessor(): Candidate | null {
    return this.#predecessor
  }

  /** Stands until it is elected. Rejects when it is closed, or when the store is. */
  async campaign(): Promise<Leadership> {
    for (;;) {
      this.#checkOpen()
      try {
        const leadership = await this.#stand()
        if (leadership !== null) return leadership
      } catch (thrown) {
        const error = asLemnisError(thrown)
        if (FINAL.has(error.code)) throw error
      }
      await this.#pause()
    }
  }

  /** Stands no more; a leadership that is held is given back. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#watch.close()
    this.#lookTimer?.cancel()
    this.#wake?.()
    await this.#session?.resign()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new LemnisError('CLOSED', { what: 'election' })
  }

  /** Null when its session was over before its turn came. */
  async #stand(): Promise<Leadership | null> {
    const { clock, config, store, random } = this.#options
    const session = await Session.open(store, clock, config)
    this.#session = session
    let isWon = false
    try {
      const words = Array.from({ length: KEY_WORDS }, () => random.u32().toString(16))
      const key = `${PREFIX}${words.map((word) => word.padStart(8, '0')).join('')}`
      const term = await this.#register(session, key)
      isWon = term !== null && (await this.#turn(session, key, term))
      return isWon && term !== null ? new HeldLeadership(session, key, term) : null
    } finally {
      if (!isWon) void session.resign()
    }
  }

  /** The revision of the key's making; null when the session was over before. */
  async #register(session: Session, key: string): Promise<number | null> {
    const { store, candidate } = this.#options
    const value = encodeRecord(CandidateRecord, candidate)
    while (session.isValid()) {
      this.#checkOpen()
      try {
        // The name of the key is given once: when an answer was lost, putting it again does no harm.
        const revision = await store.commit(
          [{ kind: 'absent', key }],
          [{ kind: 'put', key, value, lease: session.lease }],
        )
        if (revision !== null) return revision
        const item = await store.get(key)
        if (item === null) break
        return item.createdRevision
      } catch (thrown) {
        const error = asLemnisError(thrown)
        if (FINAL.has(error.code)) throw error
        if (error.code === 'NOT_FOUND') break
        await this.#pause()
      }
    }
    session.end('ended')
    return null
  }

  /** True when the own key was the oldest; false when the session was over before. */
  #turn(session: Session, key: string, term: number): Promise<boolean> {
    return new Promise((resolve) => {
      const over = (): void => {
        this.#standing = null
        resolve(false)
      }
      if (session.isOver) {
        over()
        return
      }
      session.onOver = over
      this.#standing = { session, key, term, won: () => resolve(true) }
      this.#look()
    })
  }

  // --- who stands

  #changed(changes: readonly MetaChanged[]): void {
    const standing = this.#standing
    const isGone = changes.some((one) => one.kind === 'remove' && one.key === standing?.key)
    if (isGone) standing?.session.end('removed')
    this.#look()
  }

  /** Reads all keys, without doubt, and once more when asked meanwhile. */
  #look(): void {
    this.#mustLook = true
    if (!this.#isLooking) void this.#lookWhileAsked()
  }

  async #lookWhileAsked(): Promise<void> {
    const { clock, store, config } = this.#options
    this.#isLooking = true
    this.#lookTimer?.cancel()
    let pauseMs = config.leaderLeaseMs
    while (this.#mustLook && !this.#isClosed) {
      this.#mustLook = false
      const standing = this.#standing
      try {
        this.#seen(await store.range(PREFIX, END, CANDIDATES_MAX), standing)
      } catch (thrown) {
        asLemnisError(thrown)
        pauseMs = config.leaderKeepAliveMs
      }
    }
    this.#isLooking = false
    if (this.#isClosed) return
    // The watch tells earlier, as a rule; but a leader is found even if it never does.
    this.#lookTimer = clock.after(pauseMs, () => this.#look())
  }

  /** `asked`: who stood when the question was asked. */
  #seen(items: readonly MetaItem[], asked: Standing | null): void {
    this.#candidates = items
      .map(candidateOf)
      .filter((candidate) => candidate !== null)
      .sort((a, b) => a.term - b.term)
    const standing = this.#standing
    const [first] = this.#candidates
    if (first !== undefined && first.term !== standing?.term) this.#predecessor = first
    if (standing !== null && standing === asked) {
      const oldest = Math.min(...items.map(({ createdRevision }) => createdRevision))
      const isThere = items.some((one) => one.key === standing.key)
      if (!isThere) standing.session.end('removed')
      else if (oldest === standing.term && standing.session.isValid()) standing.won()
    }
    this.#options.onSeen?.()
  }

  /** The time of a renewal, a little more or less. */
  #pause(): Promise<void> {
    const { clock, config, random } = this.#options
    const pauseMs = config.leaderKeepAliveMs * (random.between(50, 150) / 100)
    return new Promise((resolve) => {
      const timer = clock.after(pauseMs, () => this.#wake?.())
      this.#wake = () => {
        timer.cancel()
        this.#wake = null
        resolve()
      }
      if (this.#isClosed) this.#wake()
    })
  }
}

class HeldLeadership implements Leadership {
  readonly term: number
  readonly condition: MetaCondition
  onLost: ((reason: LossReason) => void) | null = null
  readonly #session: Session

  constructor(session: Session, key: string, term: number) {
    this.#session = session
    this.term = term
    this.condition = { kind: 'created', key, revision: term }
    const over = session.onOver
    session.onOver = (reason) => {
      over?.(reason)
      this.onLost?.(reason)
    }
  }

  isValid(): boolean {
    return this.#session.isValid()
  }

  resign(): Promise<void> {
    return this.#session.resign()
  }
}

/** What can not be read stands all the same, without a name. */
function candidateOf(item: MetaItem): Candidate | null {
  const term = item.createdRevision
  try {
    return { ...decodeRecord(CandidateRecord, item), term }
  } catch (thrown) {
    asLemnisError(thrown)
    return null
  }
}
