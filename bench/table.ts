// Owns what a bench is and how its figures are shown: rows for programs, a table for people, and the
// facts of the machine without which a figure says nothing.

import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import Table from 'cli-table3'

export interface BenchOptions {
  /** How long each figure is measured. */
  readonly seconds: number
  /** A run that only shows that the bench works: its figures mean nothing. */
  readonly tiny: boolean
}

export interface BenchRow {
  readonly bench: string
  /** What was done: `append 4 KiB, depth 1`. */
  readonly name: string
  /** What was measured: `rate`, `p99`. */
  readonly metric: string
  readonly value: number
  /** `calls/s`, `us`, `MiB/s`. */
  readonly unit: string
  readonly note?: string
}

/** What every bench module exports as `run`. */
export type BenchRun = (options: BenchOptions) => Promise<BenchRow[]>

export function renderRows(rows: readonly BenchRow[]): string {
  const table = new Table({
    head: ['bench', 'what', 'metric', 'value', 'unit', 'note'],
    colAligns: ['left', 'left', 'left', 'right', 'left', 'left'],
    style: { head: [], border: [], compact: true },
  })
  for (const row of rows) {
    const value = formatValue(row.value)
    table.push([row.bench, row.name, row.metric, value, row.unit, row.note ?? ''])
  }
  return table.toString()
}

/** Three digits are all that a noisy machine can promise; large numbers get thousands marks. */
export function formatValue(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (Math.abs(value) < 1000) return String(Number(value.toPrecision(3)))
  return Math.round(value).toLocaleString('en-US')
}

export type MachineFacts = Readonly<Record<string, string | number>>

export function machineFacts(directory: string): MachineFacts {
  const processors = cpus()
  return {
    node: process.version,
    cpus: processors.length,
    cpu: processors[0]?.model ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    fileSystem: fileSystemOf(directory),
  }
}

/** The type of the file system that holds `directory`, by `df`; 'unknown' where df does not tell. */
function fileSystemOf(directory: string): string {
  try {
    const lines = execFileSync('df', ['--output=fstype', directory], { encoding: 'utf8' })
    return lines.trim().split('\n').at(-1)?.trim() ?? 'unknown'
  } catch {
    return 'unknown'
  }
}
