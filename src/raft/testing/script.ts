// Owns the language of the text scripts in test/scripts/raft: a case is a block of commands, a line
// '----', and the complete trace expected, up to an empty line. State goes on from case to case
// within a file. Lines that begin with '#' are comments and stay. The commands are the table below.

import { assert, must } from '../../base/assert.ts'
import { initialConfiguration } from '../configuration.ts'
import type {
  ConfigChangeStep,
  Configuration,
  Entry,
  Message,
  RaftBug,
  ReplicaId,
} from '../types.ts'
import type { MessageFilter, ScriptGroup } from './group.ts'
import { founder, type Tuning } from './replica.ts'
import { showConfig, showMessage } from './trace.ts'

const encoder = new TextEncoder()
const ALWAYS = Number.POSITIVE_INFINITY

export interface ScriptCase {
  /** The commands with comments, as written. */
  readonly input: string
  readonly expected: string
}

export function parseScript(text: string): ScriptCase[] {
  const blocks = text.split(/\n{2,}/).map((block) => block.trim())
  return blocks.filter(Boolean).map((block) => {
    const lines = block.split('\n')
    const at = lines.indexOf('----')
    if (at < 0) return { input: block, expected: '' }
    return { input: lines.slice(0, at).join('\n'), expected: lines.slice(at + 1).join('\n') }
  })
}

/** Blocks that are all comment have no trace. */
export function isComment(block: ScriptCase): boolean {
  return block.input.split('\n').every((line) => line.startsWith('#'))
}

export function writeScript(cases: readonly ScriptCase[]): string {
  const blocks = cases.map((block) =>
    isComment(block) ? block.input : `${block.input}\n----\n${block.expected}`.trimEnd(),
  )
  return `${blocks.join('\n\n')}\n`
}

/** Runs one block and returns its trace. */
export function runCase(group: ScriptGroup, input: string): string {
  group.lines = []
  for (const line of input.split('\n')) {
    const words = line.split('#')[0]?.split(/\s+/).filter(Boolean) ?? []
    const [name, ...rest] = words
    if (name === undefined) continue
    const command = COMMANDS[name]
    assert(command !== undefined, `a command of scripts: ${name}`)
    command(group, rest)
  }
  return group.lines.length === 0 ? 'ok' : group.lines.join('\n')
}

function id(word: string | undefined): ReplicaId {
  const value = Number(word)
  assert(Number.isSafeInteger(value) && value > 0, `a replica: ${word}`)
  return value as ReplicaId
}

/** '1>2', '>2', '1>' and kinds of messages; nothing matches everything, 'not' the rest. */
function filterOf(words: readonly string[]): MessageFilter {
  const negated = words[0] === 'not'
  const terms = negated ? words.slice(1) : words
  const pairs = terms.filter((word) => word.includes('>'))
  const kinds = terms.filter((word) => !word.includes('>'))
  const matches = (message: Message): boolean => {
    const isPair = pairs.some((pair) => {
      const [from, to] = pair.split('>')
      return (!from || id(from) === message.from) && (!to || id(to) === message.to)
    })
    return (pairs.length === 0 || isPair) && (kinds.length === 0 || kinds.includes(message.kind))
  }
  return negated ? (message) => !matches(message) : matches
}

/** 'voter 4 learner 5 remove 1' */
function stepsOf(words: readonly string[]): ConfigChangeStep[] {
  const steps: ConfigChangeStep[] = []
  for (let i = 0; i < words.length; i += 2) {
    const action =
      words[i] === 'remove' ? 'remove' : words[i] === 'voter' ? 'add-voter' : 'add-learner'
    steps.push({ action, replica: id(words[i + 1]) })
  }
  return steps
}

function show(group: ScriptGroup, outcome: unknown): void {
  if (typeof outcome === 'string') group.note(outcome)
}

/** 'a b c' as they are; '5x100' for five entries of 100 bytes. */
function dataOf(word: string): Uint8Array[] {
  const many = /^(\d+)x(\d+)$/.exec(word)
  if (many === null) return [encoder.encode(word)]
  return Array.from({ length: Number(many[1]) }, () => new Uint8Array(Number(many[2])))
}

function configOf(words: readonly string[]): Configuration {
  const at = words.indexOf('learners')
  const voters = (at < 0 ? words : words.slice(0, at)).map(id)
  const learners = at < 0 ? [] : words.slice(at + 1).map(id)
  return { ...initialConfiguration(voters), learners }
}

/**
 * 'logged 3 term 8 voters 1 2 3 log 1 1 4 4': a replica with these terms in its log from index 2
 * on.
 */
function addLogged(group: ScriptGroup, words: readonly string[]): void {
  const votersAt = words.indexOf('voters')
  const logAt = words.indexOf('log')
  const entries: Entry[] = words.slice(logAt + 1).map((term, i) => ({
    term: Number(term),
    index: i + 2,
    kind: 'data',
    data: encoder.encode(`x${i + 2}`),
  }))
  const { mark } = founder(initialConfiguration(words.slice(votersAt + 1, logAt).map(id)))
  const hardState = { term: Number(words[2]), vote: 0 as const, commit: 1 }
  group.add(id(words[0]), { hardState, entries, mark })
}

function showLog(group: ScriptGroup, replica: ReplicaId): void {
  const { store, node } = group.replica(replica)
  const terms = store.all().map((entry) => entry.term)
  const from = store.firstIndex()
  const commit = node === null ? 'down' : `commit ${node.status().commit}`
  group.note(`${replica} log from ${from}: ${terms.join(' ') || 'empty'}, ${commit}`)
}

function showStatus(group: ScriptGroup, replica: ReplicaId): void {
  const { node } = group.replica(replica)
  if (node === null) return group.note(`${replica} is down`)
  const status = node.status()
  const { role, term, vote, leader, commit, applied, lastIndex, config } = status
  const quiescent = status.isQuiescent ? ', quiescent' : ''
  group.note(`${replica} ${role} t${term} vote ${vote} leader ${leader}${quiescent}`)
  group.note(`  commit ${commit} applied ${applied} last ${lastIndex}; ${showConfig(config)}`)
  for (const peer of status.progress) {
    const { inflightMessages, inflightBytes, isActive } = peer
    const flight = `in flight ${inflightMessages} of ${inflightBytes} bytes`
    const active = isActive ? '' : ', silent'
    group.note(
      `  ${peer.replica}: ${peer.state} match ${peer.match} next ${peer.next}, ${flight}${active}`,
    )
  }
}

type Command = (group: ScriptGroup, words: readonly string[]) => void

/**
 * A replica's command: the first word is the replica, and its effects take their course after it.
 */
function on(
  act: (
    node: NonNullable<ReturnType<ScriptGroup['replica']>['node']>,
    words: readonly string[],
    group: ScriptGroup,
  ) => void,
): Command {
  return (group, [first, ...words]) => {
    const replica = group.replica(id(first))
    act(must(replica.node, `replica ${first} is up`), words, group)
    group.settle(replica)
  }
}

/** What a script may say. */
const COMMANDS: Readonly<Record<string, Command>> = {
  // setting up
  option: (group, [name, value]) => {
    const key = must(name, 'an option') as keyof Tuning
    assert(group.tuning[key] !== undefined, `an option: ${name}`)
    group.tuning = { ...group.tuning, [key]: Number(value) }
  },
  bug: (group, words) => {
    group.bugs = words as RaftBug[]
  },
  founders: (group, words) => {
    const config = configOf(words)
    for (const replica of [...config.voters, ...config.learners]) group.addFounder(replica, config)
  },
  newcomer: (group, words) => {
    for (const word of words) group.addNewcomer(id(word))
  },
  logged: addLogged,
  brief: (group) => {
    group.isBrief = true
  },
  full: (group) => {
    group.isBrief = false
  },
  hide: (group, words) => {
    group.hidden = words
  },

  // time and network
  pass: (group, [ms]) => group.pass(Number(ms), false),
  run: (group, [ms]) => group.pass(Number(ms), true),
  /** Time goes by and nobody's tick is called. */
  sleep: (group, [ms]) => {
    group.nowMs += Number(ms)
  },
  deliver: (group, words) => group.deliver(filterOf(words), ALWAYS),
  'deliver-one': (group, words) => group.deliver(filterOf(words), 1),
  drop: (group, words) => group.drop(filterOf(words)),
  waiting: (group, words) => {
    for (const message of group.queue.filter(filterOf(words))) group.note(showMessage(message))
  },
  double: (group, words) => {
    group.queue.push(...group.queue.filter(filterOf(words)))
  },
  reverse: (group) => {
    group.queue.reverse()
  },
  /** 'cut 1 | 2 3': neither side hears the other. 'cut 1>2': one way. */
  cut: (group, words) => {
    const oneWay = words[0]?.split('>') ?? []
    if (oneWay.length === 2) return group.cut(id(oneWay[0]), id(oneWay[1]))
    const bar = words.indexOf('|')
    for (const a of words.slice(0, bar)) {
      for (const b of words.slice(bar + 1)) {
        group.cut(id(a), id(b))
        group.cut(id(b), id(a))
      }
    }
  },
  heal: (group) => group.heal(),

  // a replica's inputs
  campaign: on((node, _, group) => {
    if (!node.campaign(group.nowMs)) group.note('refused')
  }),
  propose: on((node, words, group) => {
    for (const word of words) {
      for (const data of dataOf(word)) show(group, node.propose(data, group.nowMs))
    }
  }),
  change: on((node, words, group) => show(group, node.proposeChange(stepsOf(words), group.nowMs))),
  /** 'read 1 7 8': both in one turn. */
  read: on((node, contexts, group) => {
    for (const context of contexts) {
      if (node.readIndex(Number(context), group.nowMs) !== 'pending') group.note('not-leader')
    }
  }),
  lease: on((node, _, group) => group.note(`lease read: ${node.leaseRead(group.nowMs) ?? 'no'}`)),
  transfer: on((node, [to], group) => {
    const outcome = node.transferLeader(id(to), group.nowMs)
    if (outcome !== 'started') group.note(outcome)
  }),
  wake: on((node, _, group) => node.wake(group.nowMs)),
  unreachable: on((node, [peer]) => node.unreachable(id(peer))),
  /** 'report 1 3 ok': 1 hears how the transfer of its state to 3 ended. */
  report: on((node, [peer, outcome]) => node.snapshotReported(id(peer), outcome === 'ok')),

  // a replica's host
  crash: (group, words) => {
    for (const word of words) group.replica(id(word)).crash()
  },
  /** 'tear 3 1': 3 crashes within its oldest write, after the first entry of it. */
  tear: (group, [word, entries]) => group.replica(id(word)).crash(Number(entries)),
  restart: (group, words) => {
    for (const word of words) {
      const replica = group.replica(id(word))
      replica.start(group.nowMs)
      group.settle(replica)
    }
  },
  disk: (group, [word, mode]) => {
    group.replica(id(word)).autoPersist = mode === 'fast'
  },
  persist: (group, [word, count]) => {
    const replica = group.replica(id(word))
    replica.persist(Number(count ?? ALWAYS))
    group.settle(replica)
  },
  machine: (group, [word, mode]) => {
    group.replica(id(word)).autoApply = mode === 'fast'
  },
  apply: (group, [word, count]) => {
    const replica = group.replica(id(word))
    replica.apply(Number(count ?? ALWAYS))
    group.settle(replica)
  },
  checkpoint: (group, words) => {
    for (const word of words) {
      if (!group.replica(id(word)).takeCheckpoint()) group.note(`${word} takes no checkpoint`)
    }
  },
  purge: (group, [word, index]) => group.replica(id(word)).store.purge(Number(index)),
  /** 'evict 1 9': what is before index 9 has to be fetched. */
  evict: (group, [word, index]) => {
    group.replica(id(word)).store.memoryFrom = Number(index)
    group.replica(id(word)).autoFetch = false
  },
  fetched: (group, [word]) => {
    const replica = group.replica(id(word))
    replica.answerFetches()
    group.settle(replica)
  },

  // looking
  status: (group, words) => {
    for (const word of words) showStatus(group, id(word))
  },
  logs: (group) => {
    for (const replica of group.replicas.keys()) showLog(group, replica)
  },
}
