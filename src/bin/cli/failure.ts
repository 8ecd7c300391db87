// Owns how a command ends when it can not do what was asked: what happened and what it means for the
// data, the facts, and the command that helps; and with which exit code.

import { InvariantError } from '../../base/assert.ts'
import { asLemnisError, ERRORS, type ErrorDetail, LemnisError } from '../../base/errors.ts'
import { cureOf } from './cures.ts'
import type { Io } from './io.ts'

export const EXIT = {
  ended: 0,
  failed: 1,
  usage: 2,
  /** As in sysexits.h: a bug of this program; a disk that failed. */
  bug: 70,
  disk: 74,
} as const

/** An end with a sentence of its own instead of the error table's. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly cure: string

  constructor(says: string, cure: string) {
    super(says)
    this.cure = cure
  }
}

/** The value of an option that a command can not do without. */
export function needed(value: string | undefined, option: string, what: string): string {
  if (value !== undefined) return value
  throw new CommandError(`${option} is missing: ${what}. Nothing was started.`, 'See --help.')
}

interface Told {
  readonly code: string
  readonly says: string
  readonly cure: string
  readonly detail: ErrorDetail
}

function tell(thrown: unknown): Told {
  if (thrown instanceof CommandError) {
    return { code: 'COMMAND', says: thrown.message, cure: thrown.cure, detail: {} }
  }
  if (isSystemError(thrown)) {
    const cure = 'Correct the path or its rights, then repeat it.'
    return {
      code: thrown.code ?? '',
      says: `The system refused: ${thrown.message}.`,
      cure,
      detail: {},
    }
  }
  const { code, detail } = asLemnisError(thrown)
  const { helps = cureOf(code, detail), cure = helps, ...others } = detail
  return { code, says: ERRORS[code].says, cure: sentence(String(cure)), detail: others }
}

function sentence(text: string): string {
  if (text === '') return ''
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`
}

/** Of a system call: a directory that is a file, a file that may not be read. */
function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && 'syscall' in thrown
}

/** Prints why, and returns the exit code. */
export function reportFailure(io: Io, thrown: unknown): number {
  if (thrown instanceof InvariantError) {
    io.note(`${io.paint('red', 'bug:')} ${thrown.stack ?? thrown.message}`)
    return EXIT.bug
  }
  const told = tell(thrown)
  if (io.isJson) {
    io.note(JSON.stringify({ error: told }))
  } else {
    const { reason, ...others } = told.detail
    // Everything is asked of an MDS; of others it says who refused.
    const facts = Object.entries(others)
      .map(([key, value]) => `${key} ${value}`)
      .filter((fact) => !fact.startsWith('peer mds'))
    io.note(`${io.paint('red', 'error:')} ${told.says}`)
    if (reason !== undefined) io.note(`  ${sentence(String(reason))}`)
    if (facts.length > 0) io.note(`  ${facts.join(', ')}`)
    if (told.cure !== '') io.note(`  ${io.paint('bold', '→')} ${told.cure}`)
  }
  const isDisk = thrown instanceof LemnisError && thrown.code === 'DISK_FAILED'
  return isDisk ? EXIT.disk : EXIT.failed
}
