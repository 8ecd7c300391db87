// Owns what the programs in test/e2e say: one line for each check with its figures, and an error that
// ends the program at the first thing wrong.

import { MIB } from '../../src/base/units.ts'

const startedMs = performance.now()

export function say(what: string): void {
  const seconds = (performance.now() - startedMs) / 1000
  process.stdout.write(`${seconds.toFixed(1).padStart(6)} s  ${what}\n`)
}

export function check(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(what)
}

export function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(0)} MiB`
}

/** Bytes a second, of work that began at `sinceMs` of performance.now(). */
export function rate(bytes: number, sinceMs: number): string {
  return `${(bytes / MIB / ((performance.now() - sinceMs) / 1000)).toFixed(0)} MiB/s`
}

/** Looks again and again until it is so, or throws what `describe` says after the limit. */
export async function until(
  isSo: () => Promise<boolean> | boolean,
  limitMs: number,
  describe: () => string,
): Promise<void> {
  const endMs = performance.now() + limitMs
  while (!(await isSo())) {
    check(performance.now() < endMs, `not within ${limitMs / 1000} s: ${describe()}`)
    await new Promise<void>((resolve) => setTimeout(resolve, 100))
  }
}
