// Owns what all roles have in common on their command lines and HTTP ports.

import type { Health } from '../../platform/http.ts'
import type { LogLevel } from '../../platform/log.ts'

/** What every role takes on its command line. */
export interface RoleFlags {
  readonly listen: string
  /** Empty for no HTTP port. */
  readonly http: string
  /** Of the log's lines: which one of its role it is. */
  readonly name: string
  readonly set: readonly string[]
  readonly config?: string
  readonly logFile?: string
  readonly logLevel?: LogLevel
}

export const STARTING: Health = { ok: false, reasons: ['It is starting.'] }
export const WELL: Health = { ok: true, reasons: [] }
