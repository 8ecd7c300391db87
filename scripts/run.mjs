// Builds what is out of date, then runs one of the project's programs with the arguments that follow:
//   node scripts/run.mjs build | start | sim | soak | bench [arguments]

import { build, buildIsStale, install, installIsStale, run } from './lib.mjs'

const PROGRAMS = {
  build: null,
  start: null,
  sim: ['dist/src/bin/sim.js'],
  soak: ['dist/src/bin/sim.js', '--soak'],
  bench: ['dist/bench/main.js'],
}

async function step(name, work) {
  console.error(`${name} ...`)
  const { code, output } = await work()
  if (code === 0) return
  process.stderr.write(output)
  console.error(`${name} failed`)
  process.exit(code)
}

const [name = '', ...args] = process.argv.slice(2)
if (!Object.hasOwn(PROGRAMS, name)) {
  console.error(`usage: node scripts/run.mjs ${Object.keys(PROGRAMS).join(' | ')} [arguments]`)
  process.exit(2)
}
if (installIsStale()) await step('npm install', install)
if (buildIsStale()) await step('build', build)
if (name === 'start') {
  // In this process: there is none in between that a signal could end alone.
  process.argv.splice(1, process.argv.length, 'lemnis', 'dev', ...args)
  process.env.LEMNIS_COMMAND = './bin/lemnis'
  await import('../dist/src/bin/lemnis.js')
}
const program = PROGRAMS[name]
if (program !== null) {
  const all = ['--enable-source-maps', ...program, ...args]
  process.exitCode = (await run(process.execPath, all, { show: true })).code
}
