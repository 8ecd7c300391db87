// Owns what the rebuild of one chunkserver of a large cluster means for durability: how many rounds
// the recovery planner needs for it within its limits, how long they take at a given rate, and how
// likely a loss is then; beside it the figure that Curve published, with the assumptions of both.

import { GIB, MIB } from '../src/base/units.ts'
import { durability, lossAtOnce } from '../src/placement/durability.ts'
import { Pass, type PlanLimits } from '../src/placement/pass.ts'
import { planRecovery } from '../src/placement/recover.ts'
import { applied, changed } from '../src/placement/testing/clusters.ts'
import type { ClusterView } from '../src/placement/view.ts'
import type { BenchRow } from './table.ts'

/**
 * "Estimation of availability and reliability in CurveBS" (opencurve/curve-meetup-slides, 2021):
 * 1,200 disks, 50 copysets on each, MTBF 1.2 million hours, all of a disk's data back after 5
 * minutes, third failures only.
 */
const CURVE = {
  noLossPerYear: 0.999999781,
  replicas: 3,
  copysets: (1200 * 50) / 3,
  mtbfHours: 1_200_000,
  rebuildHours: 5 / 60,
  rescueHours: 5 / 60,
}
/** What is on one disk. */
const USED_BYTES = 1024 * GIB
/** Bytes a second that one chunkserver sends or receives for rebuilds, to compare. */
const RATES_MIB = [32, 64, 128] as const
/** Until people have saved the last replica of a copyset. */
const RESCUE_HOURS = 24
const SECONDS_PER_HOUR = 3600
/** Share of all chunkservers that a power failure takes with it, in the copyset paper. */
const AT_ONCE_SHARE = 0.01

export interface DetectionTimes {
  readonly offlineMs: number
  readonly scheduleIntervalMs: number
}

export function rebuildRows(view: ClusterView, limits: PlanLimits & DetectionTimes): BenchRow[] {
  const rows: BenchRow[] = []
  const row = (name: string, metric: string, value: number, unit: string, note = ''): void => {
    rows.push({ bench: 'durability', name, metric, value, unit, note })
  }
  const replicas = view.copysets.filter(({ members }) => members.includes(1)).length
  const rounds = roundsToRebuild(view, limits)
  row('one disk of many', 'rebuild', rounds, 'rounds', `${replicas} replicas`)
  for (const rate of RATES_MIB) {
    const { movesPerChunkserverMax: shared } = limits
    const seconds =
      limits.offlineMs / 1000 +
      rounds *
        (limits.scheduleIntervalMs / 1000 + ((USED_BYTES / replicas) * shared) / (rate * MIB))
    const facts = {
      ...CURVE,
      copysets: view.copysets.length,
      rebuildHours: seconds / SECONDS_PER_HOUR,
      rescueHours: RESCUE_HOURS,
    }
    const name = `1 TiB a disk, ${rate} MiB/s each`
    row(name, 'rebuild', seconds / 60, 'min', `${limits.offlineMs / 60_000} min of it silence`)
    const { lossPerYear, quorumLossPerYear } = durability(facts)
    const note = `1 - p = ${(1 - lossPerYear).toFixed(12)}`
    row(name, 'p(data loss)', lossPerYear, '1/year', note)
    row(name, 'p(people needed)', quorumLossPerYear, '1/year', `they take ${RESCUE_HOURS} h`)
  }
  const theirs = durability(CURVE).lossPerYear
  row("Curve's assumptions, this model", 'p(data loss)', theirs, '1/year', '50 copysets a disk')
  const published = 1 - CURVE.noLossPerYear
  row("Curve's published figure", 'p(data loss)', published, '1/year', `${CURVE.noLossPerYear}`)
  const count = view.chunkservers.length
  const lost = Math.max(CURVE.replicas, Math.round(count * AT_ONCE_SHARE))
  for (const copysets of [CURVE.copysets, view.copysets.length]) {
    const p = lossAtOnce(count, lost, CURVE.replicas, copysets)
    row(`${lost} lost at once`, 'p(data loss)', p, '', `${copysets} copysets`)
  }
  return rows
}

/** As many moves at once as the limits allow, each round when the one before is done. */
function roundsToRebuild(view: ClusterView, limits: PlanLimits): number {
  let now = changed(view, [1], { isLost: true })
  for (let rounds = 0; ; rounds++) {
    const { operators } = planRecovery(new Pass(now, limits))
    if (operators.length === 0) return rounds
    now = applied(now, operators)
  }
}
