// Owns how long work shows that it goes on: a bar on standard error of a terminal, else nothing.

import type { SingleBar } from 'cli-progress'
import type { Io } from './io.ts'

/** Null where nobody looks. */
async function barOf(io: Io, what: string): Promise<SingleBar | null> {
  if (process.stderr.isTTY !== true || io.isJson) return null
  const progress = await import('cli-progress')
  return new progress.SingleBar(
    {
      format: `${what} {bar} {value}/{total}, {eta_formatted} left`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      noTTYOutput: false,
    },
    progress.Presets.shades_classic,
  )
}

/** Does `work` on one item after the other. */
export async function withProgress<T, R>(
  io: Io,
  what: string,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const bar = await barOf(io, what)
  bar?.start(items.length, 0)
  const results: R[] = []
  try {
    for (const item of items) {
      results.push(await work(item))
      bar?.increment()
    }
  } finally {
    bar?.stop()
  }
  return results
}

/** Asks again and again how much is left of `total`, until that is null: it has ended. */
export async function watchProgress(
  io: Io,
  what: string,
  total: number,
  left: () => Promise<number | null>,
): Promise<void> {
  const bar = await barOf(io, what)
  bar?.start(total, 0)
  try {
    for (let now = await left(); now !== null; now = await left()) {
      // More may come than there was at first.
      bar?.setTotal(Math.max(total, now))
      bar?.update(Math.max(total, now) - now)
    }
  } finally {
    bar?.stop()
  }
}
