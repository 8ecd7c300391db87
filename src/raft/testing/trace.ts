// Owns how messages, entries and configurations are written in the traces of tests: one line each,
// an entry as index/term.

import { unreachable } from '../../base/assert.ts'
import { decodeChange } from '../configuration.ts'
import type { Configuration, Entry, Message, Ready } from '../types.ts'

const text = new TextDecoder()

export function showEntry(entry: Entry): string {
  const at = `${entry.index}/${entry.term}`
  if (entry.kind === 'noop') return `${at} noop`
  if (entry.kind === 'data') return `${at} ${showData(entry.data)}`
  const change = decodeChange(entry.data)
  if (change.phase === 'leave') return `${at} leave`
  return `${at} enter ${change.steps.map((step) => `${step.action} ${step.replica}`).join(', ')}`
}

/** Long data is shown by its length, to keep traces of flow control readable. */
function showData(data: Uint8Array): string {
  return data.byteLength > 16 ? `(${data.byteLength} bytes)` : text.decode(data)
}

export function showEntries(entries: readonly Entry[]): string {
  return entries.map(showEntry).join(' | ')
}

export function showConfig(config: Configuration): string {
  const parts = [`epoch ${config.epoch}`, `voters ${config.voters.join(' ') || 'none'}`]
  if (config.outgoing.length > 0) parts.push(`outgoing ${config.outgoing.join(' ')}`)
  if (config.learners.length > 0) parts.push(`learners ${config.learners.join(' ')}`)
  if (config.learnersNext.length > 0) parts.push(`next learners ${config.learnersNext.join(' ')}`)
  return parts.join(', ')
}

export function showMessage(message: Message): string {
  const head = `${message.from}>${message.to} ${message.kind} t${message.term}`
  switch (message.kind) {
    case 'vote':
    case 'pre-vote': {
      const transfer = message.transfer ? ', transfer' : ''
      return `${head} last ${message.lastIndex}/${message.lastTerm}${transfer}`
    }
    case 'vote-reply':
    case 'pre-vote-reply': {
      const { granted, commit, commitTerm } = message
      return `${head} ${granted ? 'yes' : 'no'}, commit ${commit}/${commitTerm}`
    }
    case 'append': {
      const after = `after ${message.prevIndex}/${message.prevTerm}`
      return `${head} ${after} commit ${message.commit} [${showEntries(message.entries)}]`
    }
    case 'append-reply': {
      if (!message.rejected) return `${head} to ${message.index}`
      return `${head} not ${message.index}, try ${message.hintIndex}/${message.hintTerm}`
    }
    case 'heartbeat':
      return `${head} round ${message.round} commit ${message.commit}`
    case 'heartbeat-reply':
      return `${head} round ${message.round}`
    case 'snapshot': {
      const { index, term, config } = message.mark
      return `${head} at ${index}/${term}, ${showConfig(config)}`
    }
    case 'timeout-now':
      return head
    default:
      return unreachable(message)
  }
}

/** What a Ready makes durable; null for nothing. */
export function showWrite({ hardState, entries, snapshot }: Ready): string | null {
  const parts: string[] = []
  if (snapshot !== null) parts.push(`restart at ${snapshot.index}/${snapshot.term}`)
  if (hardState !== null) {
    const { term, vote, commit } = hardState
    parts.push(`term ${term} vote ${vote} commit ${commit}`)
  }
  if (entries.length > 0) parts.push(`[${showEntries(entries)}]`)
  return parts.length === 0 ? null : parts.join(' ')
}
