// What bin/lemnis runs: in a clone it first installs and builds what is missing or out of date, and says
// so in one line; an installed package has everything built and no sources.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { build, buildIsStale, install, installIsStale, ROOT } from './lib.mjs'

async function prepare(what, work) {
  console.error(`lemnis: ${what} ...`)
  const { code, output } = await work()
  if (code === 0) return
  process.stderr.write(output)
  console.error(`lemnis: ${what} failed; nothing was started`)
  process.exit(1)
}

if (existsSync(join(ROOT, 'src'))) {
  if (installIsStale()) await prepare('installing the packages that it needs', install)
  if (buildIsStale()) await prepare('building', build)
}
await import('../dist/src/bin/lemnis.js')
