// `npm test`: everything that a change must pass, on a fresh clone with Node and npm alone.
// Prints a line a step, then what was skipped and why, then `N passed, N failed, N skipped`: vitest's
// tests each, and every other step as one. `--checks` stops after the quick steps.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
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
/** With real processes, files and clients; one after the other, as each has the machine for itself. */
const END_TO_END = {
  'a cluster by lemnis dev': ['dev.js'],
  'the control plane on etcd': ['control.js'],
  'leaders of several MDS': ['mds-election.js', '--short'],
  'many chunkservers stopped': ['mass-stop.js', '--short'],
  'metrics in Prometheus': ['prometheus.js'],
  'NBD clients': ['nbd.js'],
  'kernel block device': ['attach.js'],
  'volumes through NBD clients': ['volume-clients.js', '--short'],
  'kill -9 of a cluster': ['kill-cluster.js', '--short'],
  'repair of damaged disks': ['repair.js', '--short'],
  'a chunkserver away, or gone': ['recover.js', '--short'],
  'one writer': ['fencing.js', '--short'],
  'full disks': ['full-disk.js', '--short'],
  'ext4 on a volume': ['attached-volume.js', '--short'],
  'PostgreSQL on a volume': ['postgres.js', '--short'],
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

async function unitTests() {
  const folder = join(ROOT, 'coverage')
  const file = join(folder, 'tests.json')
  mkdirSync(folder, { recursive: true })
  const args = ['run', '--coverage', '--reporter=dot', '--reporter=json']
  const result = await run(tool('vitest'), [...args, `--outputFile.json=${file}`])
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
  report('unit tests', state, result.seconds, `${passed} passed, ${failed} failed, ${left} skipped`)
  if (result.code !== 0) process.stdout.write(`${result.output.trimEnd()}\n`)
  else for (const line of coverageByFolder(join(folder, 'coverage-summary.json'))) console.log(line)
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

async function compiled() {
  const node = (args) => run(process.execPath, ['--enable-source-maps', ...args])
  await step('simulation, 60 seeds', () => node([SIM, '--seeds', '60']), lastLine)
  await step('simulation, canaries', () => node([SIM, '--canaries']), lastLine)
  const kill = ['dist/test/e2e/kill-all.js', '--rounds', '2', '--seconds', '1']
  await step('kill -9 of three replicas', () => node(kill), lastLine)
  await step('benches, tiny', () => node(['dist/bench/main.js', '--tiny']))
  const seed = ['scripts/nodes.mjs', SIM, '--seed', '1', '--hash']
  await stepOrSkip('one seed on Node 20, 22, 24', () => node(seed))
}

/** A step that may lack something of the machine, which it says in its last line. */
async function stepOrSkip(name, work, detailOf) {
  const result = await work()
  if (result.code === UNAVAILABLE) skip(name, lastLine(result.output))
  else await step(name, () => result, detailOf)
}

async function endToEnd() {
  for (const [name, [program, ...args]] of Object.entries(END_TO_END)) {
    const given = ['--enable-source-maps', `dist/test/e2e/${program}`, ...args]
    await stepOrSkip(name, () => run(process.execPath, given), lastLine)
  }
}

async function main() {
  if (installIsStale() && !(await step('npm install', install))) return
  const built = await checks()
  if (process.argv.includes('--checks')) return
  await systemPackages()
  if (built) {
    await Promise.all([unitTests(), compiled()])
    await endToEnd()
  } else {
    await unitTests()
    skip('simulation, benches and end to end', 'the build failed')
  }
}

const startedMs = performance.now()
await main()
report('all', total.failed === 0 ? 'passed' : 'failed', (performance.now() - startedMs) / 1000)
for (const reason of skips) console.log(`skipped ${reason}`)
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed === 0 ? 0 : 1
