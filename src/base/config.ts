// Owns configuration as tables: one row a setting, named with its unit, with how it is written, its
// default and a sentence. Values are parsed once, checked for relations and frozen. Flags, environment,
// files and help texts of every role come from these tables.

import { LemnisError } from './errors.ts'
import { parseDurationMs, parseSizeBytes, writeDuration, writeSize } from './units.ts'

export interface Setting<T> {
  parse(text: string): T
  format(value: T): string
  readonly fallback: T
  readonly doc: string
}

export type SettingTable = Readonly<Record<string, Setting<unknown>>>
export type ConfigOf<T extends SettingTable> = {
  readonly [K in keyof T]: T[K] extends Setting<infer V> ? V : never
}

/** What must hold between settings, with the sentence to say when it does not. */
export interface Relation<C> {
  readonly holds: (config: C) => boolean
  readonly says: string
}

export function bytesSetting(fallback: number, doc: string): Setting<number> {
  return { parse: parseSizeBytes, format: writeSize, fallback, doc }
}

export function durationSetting(fallbackMs: number, doc: string): Setting<number> {
  return { parse: parseDurationMs, format: writeDuration, fallback: fallbackMs, doc }
}

export function countSetting(fallback: number, doc: string): Setting<number> {
  return { parse: parseCount, format: String, fallback, doc }
}

export function textSetting(fallback: string, doc: string): Setting<string> {
  return { parse: (text) => text, format: (value) => value, fallback, doc }
}

function parseCount(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new LemnisError('INVALID_ARGUMENT', { value: text, expected: 'a whole number' })
  }
  return value
}

/**
 * The settings of `table`, from texts by name; what is not given has its default. An unknown name, a
 * bad value or a broken relation is INVALID_ARGUMENT with the setting and the reason.
 */
export function readConfig<T extends SettingTable>(
  table: T,
  given: Readonly<Record<string, string>>,
  relations: readonly Relation<ConfigOf<T>>[] = [],
): ConfigOf<T> {
  const values: Record<string, unknown> = {}
  for (const [name, setting] of Object.entries(table)) values[name] = setting.fallback
  for (const [name, text] of Object.entries(given)) {
    const setting = Object.hasOwn(table, name) ? table[name] : undefined
    if (setting === undefined)
      throw new LemnisError('INVALID_ARGUMENT', { setting: name, reason: 'unknown' })
    values[name] = parseSetting(name, setting, text)
  }
  return checkConfig(values as ConfigOf<T>, relations)
}

function parseSetting<V>(name: string, setting: Setting<V>, text: string): V {
  try {
    return setting.parse(text)
  } catch (error) {
    const reason =
      error instanceof LemnisError ? (error.detail['expected'] ?? 'bad value') : 'bad value'
    throw new LemnisError('INVALID_ARGUMENT', {
      setting: name,
      value: text,
      expected: String(reason),
    })
  }
}

/** Defaults of `table` with some values replaced in code, checked like the ones from outside. */
export function makeConfig<T extends SettingTable>(
  table: T,
  replaced: Partial<ConfigOf<T>> = {},
  relations: readonly Relation<ConfigOf<T>>[] = [],
): ConfigOf<T> {
  return checkConfig({ ...readConfig(table, {}), ...replaced }, relations)
}

function checkConfig<C>(config: C, relations: readonly Relation<C>[]): C {
  for (const relation of relations) {
    if (!relation.holds(config))
      throw new LemnisError('INVALID_ARGUMENT', { reason: relation.says })
  }
  return Object.freeze(config)
}

/** Each setting with its default as it would be written, for `--help` and the documents. */
export function describeConfig(
  table: SettingTable,
): { name: string; fallback: string; doc: string }[] {
  return Object.entries(table).map(([name, setting]) => ({
    name,
    fallback: setting.format(setting.fallback),
    doc: setting.doc,
  }))
}
