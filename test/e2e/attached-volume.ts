// A volume of a real cluster as a block device, by the commands that a person gives: ext4 and its files,
// space given back by fstrim, kill -9 of the device's process idle and under a mounted file system, and
// a second machine that is refused and then takes over. The second machine is a mount namespace with
// state of its own. Needs root, /dev/fuse and loop devices; says so where they are not.
// Usage: node dist/test/e2e/attached-volume.js [--short]

import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { MIB } from '../../src/base/units.ts'
import { pidStartOf } from '../../src/platform/loop-state.ts'
import { AttachedVolume, ask, askWithin, within } from '../harness/attached.ts'
import { DevCluster } from '../harness/dev-cluster.ts'
import { tryRun } from '../harness/programs.ts'
import { check, mib, say, until } from '../harness/report.ts'

/** How a program of these says that the machine lacks what it needs. */
const UNAVAILABLE = 3
const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } })
const FILES = values.short ? 20 : 60
const BULK_MIB = values.short ? 300 : 512
const LOOK_LIMIT_MS = 20_000
const BULK_LIMIT_MS = 300_000
const SPACE_LIMIT_MS = 60_000
const PROGRAM = fileURLToPath(new URL('../../src/bin/lemnis.js', import.meta.url))

if (process.getuid?.() !== 0 || !existsSync('/dev/fuse') || !existsSync('/dev/loop-control')) {
  console.log('skipped: needs root, /dev/fuse and loop devices')
  process.exit(UNAVAILABLE)
}

const scratch = mkdtempSync(join(tmpdir(), 'lemnis-attached-'))
chmodSync(scratch, 0o755)
const directory = join(scratch, 'files')
mkdirSync(directory)
const cluster = await DevCluster.start()
const volume = new AttachedVolume(cluster, `proof-${process.pid}`)

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function writeFiles(prefix: string): Promise<Map<string, string>> {
  const sums = new Map<string, string>()
  for (let i = 0; i < FILES; i++) {
    const bytes = randomBytes(Math.floor(((i % 20) ** 2 * MIB) / 60) + 10)
    sums.set(`${prefix}-${i}`, sha(bytes))
    await writeFile(join(directory, `${prefix}-${i}`), bytes)
  }
  await ask('sync', '-f', directory)
  return sums
}

async function verifyFiles(sums: ReadonlyMap<string, string>): Promise<void> {
  for (const [name, sum] of sums) {
    const bytes = await within(LOOK_LIMIT_MS, `read ${name}`, readFile(join(directory, name)))
    check(sha(bytes) === sum, `${name} differs`)
  }
}

/** What the chunks of all replicas take of the disks. */
async function diskBytes(): Promise<number> {
  const paths = [1, 2, 3].map((i) => join(cluster.directory, `chunkserver-${i}`, 'chunks'))
  // Files come and go while it counts.
  const { output } = await tryRun('du', ['-s', '--block-size=1', ...paths])
  return [...output.matchAll(/^(\d+)\t/gm)].reduce((sum, match) => sum + Number(match[1]), 0)
}

async function nothingLeft(): Promise<void> {
  const left = await volume.leftovers()
  check(left.length === 0, `left behind: ${left.join(', ')}`)
}

/** What a command that must fail says. */
function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => {
      throw new Error('a command that must be refused was done')
    },
    (error: unknown) => String(error),
  )
}

async function fileSystem(): Promise<void> {
  const { device, link } = await volume.attach()
  say(`attached as ${device}, ${link}`)
  const listed = await cluster.json<{ state: { volume: string; device: string } }[]>(
    'attach',
    '--list',
  )
  const own = listed.find(({ state }) => state.volume === volume.name)
  check(own?.state.device === device, 'attach --list shows it')
  await ask('mkfs.ext4', '-q', link)
  await volume.mount(link, directory)
  const files = await writeFiles('file')
  const bulk = join(directory, 'bulk')
  const bulkWords = ['if=/dev/urandom', `of=${bulk}`, 'bs=1M', `count=${BULK_MIB}`, 'conv=fsync']
  await askWithin(BULK_LIMIT_MS, 'dd', ...bulkWords)
  await ask('umount', directory)
  await volume.mount(link, directory)
  await verifyFiles(files)
  let full = 0
  // What was acknowledged is in the logs; the chunks get it later.
  const isThere = async (): Promise<boolean> => (full = await diskBytes()) >= 3 * BULK_MIB * MIB
  await until(isThere, SPACE_LIMIT_MS, () => `all data is in the chunks: ${mib(full)}`)
  rmSync(bulk)
  await ask('sync', '-f', directory)
  await ask('fstrim', directory)
  // Each keeps four chunk files for new chunks, and chunks that hold other files too.
  const goal = full - (3 * BULK_MIB * MIB) / 2
  let after = full
  const isLess = async (): Promise<boolean> => (after = await diskBytes()) <= goal
  await until(isLess, SPACE_LIMIT_MS, () => `space after fstrim: ${mib(after)} of ${mib(full)}`)
  say(`${FILES} files right after a new mount; fstrim of ${BULK_MIB} MiB, in three replicas:`)
  say(`  ${mib(full)} on the disks became ${mib(after)}`)
  const busy = await refusal(volume.detach())
  check(busy.includes(`umount ${directory}`), `detach of a mounted volume says what to do: ${busy}`)
  const again = await refusal(volume.attach('--force'))
  check(again.includes('attached on this host'), `not attached twice: ${again}`)
  await verifyFiles(files)
  await ask('umount', directory)
  await ask('e2fsck', '-fn', link)
  await volume.detach()
  await nothingLeft()
  say('detached; a mounted or attached one was refused; e2fsck clean; nothing left')
}

async function killIdle(): Promise<void> {
  const { pid } = await volume.attach()
  process.kill(pid, 'SIGKILL')
  const startedMs = performance.now()
  const second = await volume.attach()
  const tookMs = performance.now() - startedMs
  await volume.mount(second.device, directory)
  await ask('umount', directory)
  process.kill(second.pid, 'SIGKILL')
  await volume.detach()
  await nothingLeft()
  say(`kill -9 while idle: attached again in ${Math.round(tookMs)} ms; detach cleans up as well`)
}

async function killMounted(): Promise<void> {
  const first = await volume.attach()
  await volume.mount(first.device, directory)
  const sums = await writeFiles('synced')
  const args = [
    'if=/dev/zero',
    `of=${join(directory, 'load')}`,
    'bs=1M',
    'count=500',
    'oflag=direct',
  ]
  const load = tryRun('dd', args, { limitMs: LOOK_LIMIT_MS })
  await new Promise((resolve) => setTimeout(resolve, 500))
  process.kill(first.pid, 'SIGKILL')
  const { code } = await within(LOOK_LIMIT_MS, 'dd ends after the kill', load)
  await within(
    LOOK_LIMIT_MS,
    'ls',
    readdir(directory).catch(() => []),
  )
  await within(LOOK_LIMIT_MS, 'sync', tryRun('sync', ['-f', directory]))
  const second = await volume.attach()
  await ask('umount', directory)
  await volume.mount(second.device, directory)
  await verifyFiles(sums)
  await ask('umount', directory)
  await ask('e2fsck', '-fn', second.device)
  await volume.detach()
  await until(
    async () => (await volume.leftovers()).length === 0,
    LOOK_LIMIT_MS,
    () => 'nothing left',
  )
  say(
    `kill -9 under a mounted ext4: dd ended (exit ${code}), nothing hung; again attached, ${sums.size} synced files right, e2fsck clean`,
  )
}

/** A machine of its own as far as attachments go. */
class OtherMachine {
  readonly #keeper: ChildProcess

  constructor() {
    const script =
      'mkdir -p /run/lemnis /dev/lemnis && mount -t tmpfs none /run/lemnis && mount -t tmpfs none /dev/lemnis && echo ready && exec sleep 600'
    this.#keeper = spawn('unshare', ['-m', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  }

  ready(): Promise<void> {
    return new Promise((resolve) => this.#keeper.stdout?.once('data', () => resolve()))
  }

  run(...words: string[]): Promise<string> {
    return ask('nsenter', '-t', String(this.#keeper.pid), '-m', '--', ...words)
  }

  lemnis(...words: string[]): Promise<string> {
    return this.run(process.execPath, PROGRAM, '--mds', cluster.mds, ...words)
  }

  close(): void {
    this.#keeper.kill('SIGKILL')
  }
}

async function takeOver(): Promise<void> {
  const other = new OtherMachine()
  const first = await volume.attach()
  try {
    await other.ready()
    const words = ['if=/dev/zero', 'bs=4k', 'count=1', 'oflag=direct']
    const write = (): Promise<string> => ask('dd', ...words, `of=${first.device}`)
    await write()
    const refused = await refusal(other.lemnis('attach', volume.name))
    check(refused.includes('Another client') && refused.includes('--force'), refused)
    await write()
    say(`a second machine is refused: ${/error: .*/.exec(refused)?.[0]}`)
    // From now on nobody but the chunkservers can tell the first one.
    process.kill(first.pid, 'SIGSTOP')
    await other.lemnis('attach', volume.name, '--force')
    await other.run('dd', ...words, `of=/dev/lemnis/${volume.name}`)
    cluster.kill('mds', 'SIGSTOP')
    process.kill(first.pid, 'SIGCONT')
    const error = await refusal(write())
    check(error.includes('Input/output error'), `the first one's write fails: ${error}`)
    const isSaid = (): boolean => volume.log().includes('client_volume_fenced')
    await until(isSaid, LOOK_LIMIT_MS, () => 'its log says why')
    say('taken over by --force: the new one writes; the old one, which had not heard of it and has')
    say('  no MDS to ask, gets an error from the chunkservers and says client_volume_fenced')
    cluster.kill('mds', 'SIGCONT')
    await other.lemnis('detach', volume.name)
    await volume.detach()
    await nothingLeft()
  } finally {
    if (pidStartOf(first.pid) !== null) process.kill(first.pid, 'SIGCONT')
    cluster.kill('mds', 'SIGCONT')
    await other.lemnis('detach', volume.name, '--force').catch(() => {})
    other.close()
  }
}

let failure: unknown = null
try {
  await cluster.lemnis('volume', 'create', volume.name, '--size', '4GiB')
  await fileSystem()
  await killIdle()
  await killMounted()
  await takeOver()
  say('an attached volume: all right')
} catch (error) {
  failure = error
  console.error(error)
}
await volume.cleanUp()
await within(60_000, 'end of the cluster', cluster.close()).catch(console.error)
rmSync(scratch, { recursive: true, force: true })
process.exit(failure === null ? 0 : 1)
