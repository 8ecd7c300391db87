// Owns how long work shows that it goes on: a bar on standard error of a terminal, else nothing.

import { Presets, SingleBar } from 'cli-progress'
import type { Io } from './io.ts'

/** Does `work` on one item after the other. */
export async function withProgress<T, R>(
  io: Io,
  what: string,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const bar = new SingleBar(
    {
      format: `${what} {bar} {value}/{total}, {eta_formatted} left`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      noTTYOutput: false,
    },
    Presets.shades_classic,
  )
  const isShown = process.stderr.isTTY === true && !io.isJson
  if (isShown) bar.start(items.length, 0)
  const results: R[] = []
  try {
    for (const item of items) {
      results.push(await work(item))
      bar.increment()
    }
  } finally {
    bar.stop()
  }
  return results
}
