// `npm test`: everything that a change must pass, on a fresh clone with Node and npm alone.
// Prints a line a step, then what was skipped and why, then `N passed, N failed, N skipped`: vitest's
// tests each, and every other step as one. `--checks` stops after the quick steps.

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import { build, install, installIsStale, ROOT, run, tool } from './lib.mjs'

/** Debian's package by the program that it brings: real clients, and what the disk is compared with. */
const SYSTEM_PACKAGES = {
  fio: 'fio',
  nbdcopy: 'libnbd-bin',
  'qemu-img': 'qemu-utils',
  'mkfs.ext4': 'e2fsprogs',
  losetup: 'mount',
  '/usr/lib/postgresql/15/bin/postgres': 'postgresql-15',
  etcd: 'etcd-server',
  prometheus: 'prometheus',
}
/** What a package starts by itself: the tests start their own. */
const SERVICES = { 'etcd-server': 'etcd', prometheus: 'prometheus' }
const SIM = 'dist/src/bin/sim.js'
/** What a program ends with where the machine lacks something that it needs. */
const UNAVAILABLE = 3
const CORES = availableParallelism()
/** How many cores a step keeps busy, so that together they have no more than there are. */
const MOSTLY_WAITS = 0.5
const ONE = 1
/** Processes of vitest, by its own default. */
const UNIT = Math.max(ONE, CORES - 1)
/** Chunkservers that were silent for seconds count as gone: they get their turn in time. */
const MORE_THAN_ONE = 1.5
/** Beside nothing else: it proves how long something takes. */
const ALONE = CORES
const NODE = ['--enable-source-maps']

/**
 * In the order in which they begin; each as soon as there is room beside those before it. With real
 * processes, files and clients, but for the first ones.
 */
const STEPS = [
  { cores: UNIT, work: () => unitTests('unit tests', 'others') },
  { name: 'simulation, canaries', cores: ONE, args: [SIM, '--canaries'], tells: true },
  {
    name: 'kill -9 of three replicas',
    cores: MOSTLY_WAITS,
    args: ['dist/test/e2e/kill-all.js', '--rounds', '2', '--seconds', '1'],
    tells: true,
  },
  endToEnd('the control plane on etcd', MOSTLY_WAITS, 'control.js'),
  endToEnd('repair of damaged disks', MOSTLY_WAITS, 'repair.js', '--short'),
  endToEnd('volumes through NBD clients', MOSTLY_WAITS, 'volume-clients.js', '--short'),
  endToEnd('ext4 on a volume', MOSTLY_WAITS, 'attached-volume.js', '--short'),
  endToEnd('kernel block device', MOSTLY_WAITS, 'attach.js'),
  endToEnd('full disks', ONE, 'full-disk.js', '--short'),
  endToEnd('a chunkserver away, or gone', ONE, 'recover.js', '--short'),
  { cores: UNIT, work: () => unitTests('unit tests, measured', 'guarded', ['--coverage']) },
  { name: 'benches, tiny', cores: ONE, args: ['dist/bench/main.js', '--tiny'] },
  endToEnd('a cluster that minds itself', MORE_THAN_ONE, 'rebalance.js', '--short'),
  endToEnd('metrics in Prometheus', MOSTLY_WAITS, 'prometheus.js'),
  endToEnd('one writer', MOSTLY_WAITS, 'fencing.js', '--short'),
  endToEnd('a cluster by lemnis dev', MOSTLY_WAITS, 'dev.js'),
  endToEnd('NBD clients', MOSTLY_WAITS, 'nbd.js'),
  endToEnd('many chunkservers stopped', MORE_THAN_ONE, 'mass-stop.js', '--short'),
  {
    name: 'one seed on Node 20, 22, 24',
    cores: MOSTLY_WAITS,
    args: ['scripts/nodes.mjs', SIM, '--seed', '1', '--hash'],
  },
  // It has a process for every core.
  { name: 'simulation, 60 seeds', cores: ALONE, args: [SIM, '--seeds', '60'], tells: true },
  endToEnd('leaders of several MDS', ALONE, 'mds-election.js', '--short'),
  endToEnd('volumes while an MDS dies', ALONE, 'mds-failover.js', '--short'),
  endToEnd('kill -9 of a cluster', ALONE, 'kill-cluster.js', '--short'),
  endToEnd('PostgreSQL on a volume', ALONE, 'postgres.js', '--short'),
]

function endToEnd(name, cores, program, ...args) {
  return { name, cores, args: [`dist/test/e2e/${program}`, ...args], tells: true }
}

const total = { passed: 0, failed: 0, skipped: 0 }
const skips = []

function report(name, state, seconds, detail = '') {
  const time = seconds === null ? '' : `${seconds.toFixed(1)} s`
  console.log(`${state.padEnd(7)} ${name.padEnd(30)} ${time.padStart(8)}  ${detail}`.trimEnd())
}

function skip(name, reason) {
  total.skipped++
  skips.push(`${name}: ${reason}`)
  report(name, 'skipped', null)
}

/** Runs one step that counts as one; true when it passed. Its output is shown only when it failed. */
async function step(name, work, detailOf = () => '') {
  const result = await work()
  const passed = result.code === 0
  total[passed ? 'passed' : 'failed']++
  report(name, passed ? 'passed' : 'failed', result.seconds, passed ? detailOf(result.output) : '')
  if (!passed) process.stdout.write(`${result.output.trimEnd()}\n`)
  return passed
}

const lastLine = (output) => output.trim().split('\n').at(-1) ?? ''

async function systemPackages() {
  const name = 'system packages'
  const missing = []
  for (const [program, debian] of Object.entries(SYSTEM_PACKAGES)) {
    const found = await run('sh', ['-c', `command -v ${program}`])
    if (found.code !== 0) missing.push(debian)
  }
  if (missing.length === 0) return
  if (!existsSync('/etc/debian_version') || process.getuid?.() !== 0) {
    skip(name, `${missing.join(', ')} not here, and this is not root on Debian`)
    return
  }
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const update = await run('apt-get', ['update', '-qq'], { env })
  const added = await run('apt-get', ['install', '-y', '-qq', ...missing], { env })
  for (const service of missing.flatMap((debian) => SERVICES[debian] ?? [])) {
    await run('systemctl', ['disable', '--now', service])
  }
  if (added.code === 0) report(name, 'passed', update.seconds + added.seconds, missing.join(', '))
  else skip(name, `${missing.join(', ')} could not be installed: ${lastLine(added.output)}`)
}

/** The steps of a few seconds; two at a time, one for each core of a small machine. */
async function checks() {
  const [built] = await Promise.all([
    step('build', build).then(async (passed) => {
      await step('pure', () => run(tool('tsc'), ['-p', 'tsconfig.pure.json']))
      return passed
    }),
    step('format', () => run(tool('biome'), ['ci', '--colors=off', '.'])).then(async () => {
      await step('lint', () => run(tool('oxlint'), ['--type-aware', '--format=unix']))
      await step('unused code', () => run(tool('knip'), ['--no-progress']))
    }),
  ])
  return built
}

/** The tests of one project in vitest.config.ts. */
async function unitTests(name, project, words = []) {
  const scratch = join(ROOT, '.tmp')
  const file = join(scratch, `tests-${project}.json`)
  mkdirSync(scratch, { recursive: true })
  rmSync(file, { force: true })
  const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${file}`]
  const result = await run(tool('vitest'), ['run', '--project', project, ...words, ...reporters])
  const counts = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  const passed = counts.numPassedTests ?? 0
  const failed = counts.numFailedTests ?? 0
  const left = (counts.numPendingTests ?? 0) + (counts.numTodoTests ?? 0)
  // A file that did not load or a coverage that fell has no test of its own to fail.
  const failedBesides = result.code !== 0 && failed === 0 ? 1 : 0
  total.passed += passed
  total.failed += failed + failedBesides
  total.skipped += left
  if (left > 0) skips.push(...skippedTests(counts))
  const state = result.code === 0 ? 'passed' : 'failed'
  report(name, state, result.seconds, `${passed} passed, ${failed} failed, ${left} skipped`)
  if (result.code !== 0) process.stdout.write(`${result.output.trimEnd()}\n`)
  else if (words.includes('--coverage')) {
    const summary = join(ROOT, 'coverage', 'coverage-summary.json')
    for (const line of coverageByFolder(summary)) console.log(line)
  }
}

function skippedTests(counts) {
  return counts.testResults.flatMap((suite) =>
    suite.assertionResults
      .filter((test) => test.status === 'pending' || test.status === 'skipped')
      .map((test) => `${relative(ROOT, suite.name)}: ${test.fullName}`),
  )
}

function coverageByFolder(file) {
  const sums = new Map()
  for (const [path, facts] of Object.entries(JSON.parse(readFileSync(file, 'utf8')))) {
    if (path === 'total') continue
    const folder = relative(ROOT, path).split('/').slice(0, 2).join('/')
    const sum = sums.get(folder) ?? { lines: [0, 0], branches: [0, 0] }
    for (const kind of ['lines', 'branches']) {
      sum[kind][0] += facts[kind].covered
      sum[kind][1] += facts[kind].total
    }
    sums.set(folder, sum)
  }
  const share = ([covered, all]) => (all === 0 ? '-' : `${((100 * covered) / all).toFixed(1)} %`)
  return [...sums].map(
    ([folder, { lines, branches }]) =>
      `        ${folder.padEnd(14)} lines ${share(lines)}, branches ${share(branches)}`,
  )
}

/** A step that may lack something of the machine, which it says in its last line. */
async function stepOrSkip({ name, args, tells = false }) {
  const result = await run(process.execPath, [...NODE, ...args])
  if (result.code === UNAVAILABLE) skip(name, lastLine(result.output))
  else await step(name, () => result, tells ? lastLine : undefined)
}

/** Each begins in its turn, as soon as those that run leave it the cores that it needs. */
async function together(steps) {
  const running = new Set()
  let busy = 0
  for (const one of steps) {
    while (running.size > 0 && busy + one.cores > CORES) await Promise.race(running)
    const ended = (one.work?.() ?? stepOrSkip(one)).then(() => {
      busy -= one.cores
      running.delete(ended)
    })
    busy += one.cores
    running.add(ended)
  }
  await Promise.all(running)
}

async function main() {
  if (installIsStale() && !(await step('npm install', install))) return
  const built = await checks()
  if (process.argv.includes('--checks')) return
  await systemPackages()
  if (built) await together(STEPS)
  else {
    await together(STEPS.filter(({ work }) => work !== undefined))
    skip('simulation, benches and end to end', 'the build failed')
  }
}

const startedMs = performance.now()
await main()
report('all', total.failed === 0 ? 'passed' : 'failed', (performance.now() - startedMs) / 1000)
for (const reason of skips) console.log(`skipped ${reason}`)
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed === 0 ? 0 : 1
