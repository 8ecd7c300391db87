// Owns where the settings of a role come from. The later one wins: defaults, the file (--config), the
// environment (LEMNIS_RAFTLOG_SEGMENT_BYTES), the flags (--set raftlog.segmentBytes=16MiB).
// An unknown name is refused, except in the environment, which all roles of a machine share.

import { readFileSync } from 'node:fs'
import { type ConfigOf, describeConfig, readConfig, type SettingTable } from '../../base/config.ts'
import { LemnisError } from '../../base/errors.ts'

export type SettingTables = Readonly<Record<string, SettingTable>>
/** Texts by `table.setting`. */
type Texts = Map<string, string>

export type Settings<T extends SettingTables> = { readonly [K in keyof T]: ConfigOf<T[K]> }

export interface SettingSources {
  /** Path of a JSON file: {"raftlog": {"segmentBytes": "16MiB"}}. */
  readonly config?: string
  /** Each `table.setting=value`. */
  readonly set: readonly string[]
}

export function variableOf(table: string, setting: string): string {
  return `LEMNIS_${table}_${setting.replace(/[A-Z]/g, '_$&')}`.toUpperCase()
}

/** The settings of all tables; relations between them are checked by whoever makes the parts. */
export function readSettings<T extends SettingTables>(
  tables: T,
  from: SettingSources,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Settings<T> {
  const texts: Texts = new Map()
  if (from.config !== undefined) readFile(from.config, texts)
  for (const [table, settings] of Object.entries(tables)) {
    for (const setting of Object.keys(settings)) {
      const text = environment[variableOf(table, setting)]
      if (text !== undefined) texts.set(`${table}.${setting}`, text)
    }
  }
  for (const flag of from.set) {
    const [, name, text] = /^([^=]+)=(.*)$/.exec(flag) ?? []
    if (name === undefined || text === undefined) {
      throw new LemnisError('INVALID_ARGUMENT', { set: flag, expected: 'table.setting=value' })
    }
    texts.set(name, text)
  }
  return parse(tables, texts)
}

function readFile(path: string, texts: Texts): void {
  const bad = (reason: string): LemnisError =>
    new LemnisError('INVALID_ARGUMENT', { config: path, reason })
  let root: unknown
  try {
    root = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw bad(error instanceof Error ? error.message : String(error))
  }
  if (root === null || typeof root !== 'object') throw bad('not an object of tables')
  for (const [table, settings] of Object.entries(root)) {
    if (settings === null || typeof settings !== 'object') throw bad(`${table} is no table`)
    for (const [name, value] of Object.entries(settings))
      texts.set(`${table}.${name}`, String(value))
  }
}

function parse<T extends SettingTables>(tables: T, texts: Texts): Settings<T> {
  const given = new Map<string, Record<string, string>>()
  for (const [name, text] of texts) {
    const [table = '', setting = ''] = name.split('.', 2)
    if (!Object.hasOwn(tables, table)) {
      throw new LemnisError('INVALID_ARGUMENT', {
        setting: name,
        reason: `unknown table; there are ${Object.keys(tables).join(', ')}`,
      })
    }
    given.set(table, { ...given.get(table), [setting]: text })
  }
  const entries = Object.entries(tables).map(([name, table]) => [
    name,
    readConfig(table, given.get(name) ?? {}),
  ])
  return Object.fromEntries(entries) as Settings<T>
}

/** A line for each setting, for `--help`. */
export function settingsHelp(tables: SettingTables): string {
  const lines = Object.entries(tables).flatMap(([name, table]) =>
    describeConfig(table).map(
      (one) => `  ${`${name}.${one.name}`.padEnd(36)} ${one.fallback.padEnd(8)} ${one.doc}`,
    ),
  )
  return `\nSettings (--set NAME=VALUE, or ${variableOf('table', 'name')} in the environment):\n${lines.join('\n')}`
}
