// A disk whose writes take longer, for one process of node: `--import` loads this before the program, and
// from then on every write waits for as many milliseconds as the file says that is named like the
// directory of `--data` with `.delay` behind it. Without the file nothing waits. The product knows
// nothing of it; what it sees is a disk as slow as that.

import fs, { existsSync, readFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

const LOOK_MS = 100

const path = `${process.argv[process.argv.indexOf('--data') + 1]}.delay`
const write = fs.write as (...all: unknown[]) => void
let delayMs = 0

if (isMainThread) {
  setInterval(() => {
    delayMs = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
  }, LOOK_MS).unref()
  const later = (...all: unknown[]): void => {
    if (delayMs === 0) write(...all)
    else setTimeout(() => write(...all), delayMs)
  }
  Object.assign(fs, { write: later })
}
