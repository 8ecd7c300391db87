// A volume in memory as a kernel block device: FUSE file, loop device, ext4 on it, discards, growth,
// and kill -9 of the serving process at every moment, after which attaching again must heal all.
// Needs root and /dev/fuse; says so and ends well where they are not.
// Usage: node dist/test/e2e/attach.js [--kills 12] [--load SECONDS]

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { open, readFile, readlink, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { RamDevice } from '../../src/attach/testing/ram-device.ts'
import type { LemnisError } from '../../src/base/errors.ts'
import { MIB } from '../../src/base/units.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { mounts } from '../../src/platform/fuse-mount.ts'
import { Attachment } from '../../src/platform/loop-attachment.ts'
import {
  detach,
  listAttachments,
  runAttach,
  startAttachHost,
} from '../../src/platform/loop-attachments.ts'
import { isLoopOver, loopsOver, makeLoop, removeLoop } from '../../src/platform/loop-device.ts'
import { AttachmentPaths, pidStartOf } from '../../src/platform/loop-state.ts'
import { runProgram } from '../../src/platform/run-program.ts'

const SIZE_BYTES = 96 * MIB
const GROWN_BYTES = 128 * MIB

const { values } = parseArgs({
  options: {
    host: { type: 'string' },
    root: { type: 'string', default: '' },
    kills: { type: 'string', default: '12' },
    load: { type: 'string' },
    throw: { type: 'boolean', default: false },
  },
})

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(what)
}

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Attachments that this process serves, and has to end before it looks at their files itself. */
const served: Attachment[] = []

function own(attachment: Attachment): Attachment {
  served.push(attachment)
  return attachment
}

/** The program of the serving process. */
async function host(volume: string): Promise<void> {
  const device = new RamDevice(SIZE_BYTES)
  if (values.throw) {
    setTimeout(() => {
      throw new Error('a planted bug')
    }, 1000)
  }
  await runAttach({ volume, device, mds: ['127.0.0.1:1'], observer: SILENT, root: values.root })
}

const program = fileURLToPath(import.meta.url)
const hostCommand = (volume: string, root: string): string[] => [
  process.execPath,
  '--enable-source-maps',
  program,
  '--host',
  volume,
  '--root',
  root,
]

async function filesOn(directory: string): Promise<void> {
  const sums = new Map<string, string>()
  for (let i = 0; i < 40; i++) {
    const bytes = randomBytes(Math.floor((i * i * MIB) / 1000) + 10)
    sums.set(`file-${i}`, sha(bytes))
    await writeFile(join(directory, `file-${i}`), bytes)
  }
  await runProgram('sync', ['-f', directory])
  for (const [name, sum] of sums) {
    // Past the page cache, so that the device is asked.
    const file = await open(join(directory, name), 'r')
    await runProgram('dd', [`if=${join(directory, name)}`, 'iflag=nocache', 'count=0'])
    expect(sha(await file.readFile()) === sum, `${name} differs`)
    await file.close()
  }
}

async function fileSystem(root: string): Promise<void> {
  const device = new RamDevice(SIZE_BYTES, false, GROWN_BYTES)
  const options = { volume: 'vol-1', device, mds: ['127.0.0.1:1'], observer: SILENT, root }
  const attachment = own(await Attachment.start(options))
  const { device: loop, link } = attachment.state
  expect((await readlink(link)) === loop, 'the link leads to the device')
  const queue = (name: string): Promise<string> =>
    readFile(`/sys/block/${basename(loop)}/queue/${name}`, 'utf8').then((text) => text.trim())
  expect((await queue('logical_block_size')) === '4096', 'sectors are blocks')
  expect((await queue('discard_granularity')) === '4096', 'discards are passed on')
  const again = await Attachment.start(options).catch((error: LemnisError) => error.code)
  expect(again === 'CONFLICT', 'a volume is attached once')

  const mountPoint = join(root, 'files')
  mkdirSync(mountPoint)
  await runProgram('mkfs.ext4', ['-q', '-E', 'nodiscard', loop])
  await runProgram('mount', [loop, mountPoint])
  await filesOn(mountPoint)
  expect(device.calls.flush > 0, 'a sync reaches the device')
  const busy = await attachment.stop().catch((error: LemnisError) => error.message)
  expect(String(busy).includes(`umount ${mountPoint}`), `says what to do: ${String(busy)}`)

  const freeBefore = device.discardedBytes
  for (let i = 20; i < 40; i++) await rm(join(mountPoint, `file-${i}`))
  await runProgram('sync', ['-f', mountPoint])
  await runProgram('fstrim', [mountPoint])
  expect(device.discardedBytes > freeBefore + 5 * MIB, 'fstrim reaches the device')

  device.sizeBytes = GROWN_BYTES
  while ((await runProgram('blockdev', ['--getsize64', loop])) !== String(GROWN_BYTES)) {
    await sleep(100)
  }
  const before = (await statfs(mountPoint)).blocks
  // Growing it while it is mounted needs a capability that root in a container may lack.
  await runProgram('umount', [mountPoint])
  await runProgram('e2fsck', ['-fp', loop])
  await runProgram('resize2fs', [loop])
  await runProgram('mount', [loop, mountPoint])
  expect((await statfs(mountPoint)).blocks > before, 'the file system grew with its volume')
  await filesOn(mountPoint)
  await runProgram('umount', [mountPoint])
  await runProgram('e2fsck', ['-fn', loop])

  // The same bytes are there for whoever attaches next.
  await attachment.stop()
  await nothingLeft(root, 'vol-1')
  const next = own(await Attachment.start(options))
  await runProgram('mount', ['-o', 'ro', next.state.device, mountPoint])
  await open(join(mountPoint, 'file-7')).then((file) => file.close())
  await runProgram('umount', [mountPoint])
  await next.stop()
  await nothingLeft(root, 'vol-1')
}

async function readOnly(root: string): Promise<void> {
  const device = new RamDevice(SIZE_BYTES, true)
  const options = { volume: 'vol-6', device, mds: [], observer: SILENT, root }
  const attachment = own(await Attachment.start(options))
  const loop = attachment.state.device
  expect((await runProgram('blockdev', ['--getro', loop])) === '1', 'the device is read-only')
  await runProgram('dd', [`if=${loop}`, 'of=/dev/null', 'bs=1M', 'iflag=direct'])
  await attachment.stop()
  await nothingLeft(root, 'vol-6')
}

async function nothingLeft(root: string, volume: string): Promise<void> {
  const paths = new AttachmentPaths(root, volume)
  expect((await loopsOver(paths.file)).length === 0, 'no loop device is left')
  const left = (await mounts()).filter((m) => m.mountPoint.startsWith(root))
  expect(left.length === 0, `no mount is left: ${left.map((m) => m.mountPoint).join(' ')}`)
  expect(!existsSync(paths.link), 'no link is left')
  expect(paths.readState() === null, 'no state is left')
}

/** Kills the serving process so long after its start, in whatever it then does. */
async function killAfter(root: string, volume: string, delayMs: number): Promise<boolean> {
  const [node, ...args] = hostCommand(volume, root)
  const child = spawn(node as string, args, { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await sleep(delayMs)
  child.kill('SIGKILL')
  await ended
  return listAttachments(root).some((listed) => listed.state.phase === 'ready')
}

async function kills(root: string, count: number): Promise<void> {
  // The time to readiness on this machine, cut into as many steps.
  const startedMs = performance.now()
  await startAttachHost('vol-2', hostCommand('vol-2', root), root)
  const readyMs = performance.now() - startedMs
  await detach('vol-2', { root })
  await nothingLeft(root, 'vol-2')
  let whole = 0
  for (let i = 1; i <= count; i++) {
    if (await killAfter(root, 'vol-2', (readyMs * 1.2 * i) / count)) whole++
    if (i % 2 === 0) {
      await detach('vol-2', { root }).catch((error: LemnisError) =>
        expect(error.code === 'NOT_FOUND', String(error)),
      )
    } else {
      const state = await startAttachHost('vol-2', hostCommand('vol-2', root), root)
      await runProgram('dd', [
        'if=/dev/zero',
        `of=${state.device}`,
        'bs=1M',
        'count=4',
        'oflag=direct',
      ])
      await detach('vol-2', { root })
    }
    await nothingLeft(root, 'vol-2')
  }
  console.log(`${count} kills during the start, ${whole} of them after it`)
}

/** The same while the process takes everything down again. */
async function killsAtStop(root: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { pid } = await startAttachHost('vol-2', hostCommand('vol-2', root), root)
    process.kill(pid, 'SIGTERM')
    await sleep((150 * i) / count)
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It was faster.
    }
    const state = await startAttachHost('vol-2', hostCommand('vol-2', root), root)
    await detach('vol-2', { root })
    expect(state.phase === 'ready', 'attached after a kill at the stop')
    await nothingLeft(root, 'vol-2')
  }
}

/** A bug ends the process by an exception, with a thread inside a read of /dev/fuse. */
async function endsByException(root: string): Promise<void> {
  const command = [...hostCommand('vol-5', root), '--throw']
  const { pid, device } = await startAttachHost('vol-5', command, root)
  while (pidStartOf(pid) !== null) await sleep(20)
  await detach('vol-5', { root })
  expect(!existsSync(`/sys/block/${basename(device)}/loop/backing_file`), 'no loop device is left')
  await nothingLeft(root, 'vol-5')
}

/** What was free for a moment has gone to another file by the time somebody comes to clean up. */
async function numberGivenAnew(root: string): Promise<void> {
  const file = join(root, 'another-file')
  await runProgram('truncate', ['-s', '1M', file])
  const loop = await makeLoop(file, true)
  expect(await removeLoop(loop, join(root, 'file')), 'it is not over our file')
  expect(await isLoopOver(loop, file), 'the device of another is left alone')
  expect(await removeLoop(loop, file), 'removed')
  expect((await loopsOver(file)).length === 0, 'no loop device is left')
}

/** A process dies under a mounted file system and load: nothing hangs, and the volume comes back. */
async function killUnderLoad(root: string): Promise<void> {
  const first = await startAttachHost('vol-3', hostCommand('vol-3', root), root)
  const mountPoint = join(root, 'dead')
  mkdirSync(mountPoint)
  await runProgram('mkfs.ext4', ['-q', first.device])
  await runProgram('mount', [first.device, mountPoint])
  const busy = await detach('vol-3', { root }).catch((error: LemnisError) => error.code)
  expect(busy === 'CONFLICT', 'a mounted device is not removed')
  const file = join(mountPoint, 'load')
  const writing = runProgram('dd', [
    'if=/dev/zero',
    `of=${file}`,
    'bs=1M',
    'count=60',
    'oflag=direct',
  ])
  const outcome = writing.then(
    () => 'written',
    () => 'failed',
  )
  await sleep(20)
  process.kill(first.pid, 'SIGKILL')
  console.log(`kill under load: dd ${await outcome}`)
  // Its files are closed, which ends the load, before it has ended itself.
  while (pidStartOf(first.pid) !== null) await sleep(20)
  expect(
    listAttachments(root).every((a) => !a.isServed),
    'the list says that it is dead',
  )
  const second = await startAttachHost('vol-3', hostCommand('vol-3', root), root)
  expect(second.device !== first.device, 'the device in use is left to its users')
  await runProgram('umount', ['-l', mountPoint])
  await runProgram('dd', [
    'if=/dev/zero',
    `of=${second.device}`,
    'bs=1M',
    'count=4',
    'oflag=direct',
  ])
  await detach('vol-3', { root })
  // The old one goes with the file system that used it.
  while (readFileSync('/proc/mounts', 'utf8').includes(mountPoint)) await sleep(50)
  await nothingLeft(root, 'vol-3')
}

async function load(root: string, seconds: string): Promise<void> {
  const device = new RamDevice(SIZE_BYTES)
  const options = { volume: 'vol-4', device, mds: [], observer: SILENT, root }
  const attachment = own(await Attachment.start(options))
  const loop = attachment.state.device
  for (const [rw, bs, depth] of [
    ['randread', '4k', '1'],
    ['randread', '4k', '32'],
    ['randwrite', '4k', '32'],
    ['read', '1m', '8'],
    ['write', '1m', '8'],
  ] as const) {
    const before = process.cpuUsage()
    const args = ['--name=load', `--filename=${loop}`, `--rw=${rw}`, `--bs=${bs}`, '--direct=1']
    const more = [`--iodepth=${depth}`, '--ioengine=libaio', `--runtime=${seconds}`, '--time_based']
    const report = join(root, 'fio.json')
    await runProgram('fio', [...args, ...more, '--output-format=json', `--output=${report}`])
    const cpu = process.cpuUsage(before)
    const job = JSON.parse(readFileSync(report, 'utf8')).jobs[0]
    const side = rw.endsWith('read') ? job.read : job.write
    const us = (cpu.user + cpu.system) / side.total_ios
    const speed = `${Math.round(side.iops)}/s, ${Math.round(side.bw_bytes / 1e6)} MB/s`
    console.log(`${rw} ${bs} depth ${depth}: ${speed}, ${us.toFixed(1)} us CPU each`)
  }
  await attachment.stop()
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync('/dev/fuse') || !existsSync('/dev/loop-control')) {
    console.log('skipped: needs root, /dev/fuse and loop devices')
    return
  }
  const root = mkdtempSync(join(tmpdir(), 'lemnis-attach-'))
  try {
    // Files below a mount that this process serves are touched asynchronously only: a call that
    // waits for an answer of its own thread waits for ever.
    if (values.load !== undefined) await load(root, values.load)
    else {
      await fileSystem(root)
      await readOnly(root)
      await kills(root, Number(values.kills))
      await killsAtStop(root, Math.ceil(Number(values.kills) / 2))
      await endsByException(root)
      await numberGivenAnew(root)
      await killUnderLoad(root)
      console.log('attach: file system, discards, growth, kills: right')
    }
  } finally {
    for (const name of ['files', 'dead']) {
      await runProgram('umount', ['-l', join(root, name)]).catch(() => {})
    }
    for (const attachment of served) await attachment.stop().catch(console.error)
    for (const { state } of listAttachments(root)) {
      if (state.pid !== process.pid) await detach(state.volume, { root, force: true })
    }
    await rm(root, { recursive: true, force: true })
  }
}

if (values.host === undefined) await main()
else await host(values.host)
