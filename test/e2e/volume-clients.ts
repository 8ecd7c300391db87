// Real NBD clients on real volumes: a development cluster, and nbdinfo, nbdcopy, qemu-img, qemu-io and
// fio's nbd engine as their users run them, with what they wrote read back and compared; then what a
// volume of 1 TiB takes of the disks before, with and after its data.
// Usage: node dist/test/e2e/volume-clients.js [--short]

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { GIB, MIB, TIB } from '../../src/base/units.ts'
import { DevCluster } from '../harness/dev-cluster.ts'
import { Conversation, run, tryRun } from '../harness/programs.ts'
import { check, mib, rate, say, until } from '../harness/report.ts'

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } })
const isShort = values.short
const IMAGE_BYTES = isShort ? 256 * MIB : 2 * GIB
const FILES = isShort ? '/usr/share/doc' : '/usr/share'
/** Three areas of fio, and room for the rest. */
const DISK_BYTES = 512 * MIB
const THIN_BYTES = isShort ? 128 * MIB : 512 * MIB
const FIO_BYTES = isShort ? 32 * MIB : 128 * MIB
/** qemu-io takes at most 2 GiB in one command, and memory of its size for a write. */
const PIECE_BYTES = 64 * MIB
const COPY_LIMIT_MS = 15 * 60_000
const SPACE_LIMIT_MS = 60_000
/** Spare chunk files that a chunkserver keeps for the next chunks: chunkstore.poolFilesMax. */
const SPARE_BYTES = 4 * 16 * MIB
const CHUNKSERVERS = 3
/** Directories, manifests and what is smaller than a MiB. */
const SLACK_BYTES = 4 * MIB

const PROGRAMS = ['nbdinfo', 'nbdcopy', 'qemu-img', 'qemu-io', 'fio', 'mkfs.ext4', 'e2fsck']
/** What a program ends with where the machine lacks something that it needs. */
const UNAVAILABLE = 3

const missing = PROGRAMS.filter((program) => spawnSync('which', [program]).status !== 0)
if (missing.length > 0) {
  console.log(`not installed: ${missing.join(', ')}`)
  process.exit(UNAVAILABLE)
}

const scratch = mkdtempSync(join(tmpdir(), 'lemnis-clients-'))
const cluster = await DevCluster.start({ chunkservers: CHUNKSERVERS })
const uri = (volume: string): string => cluster.nbdUri(volume)
const execute = (program: string, ...args: string[]): Promise<string> =>
  run(program, args, { directory: scratch, limitMs: COPY_LIMIT_MS })
const qemuIo = (volume: string, ...commands: string[]): Promise<string> =>
  execute('qemu-io', '-f', 'raw', ...commands.flatMap((line) => ['-c', line]), uri(volume))

async function create(volume: string, size: string): Promise<void> {
  await cluster.lemnis('volume', 'create', volume, '--size', size)
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const part of createReadStream(path)) hash.update(part as Buffer)
  return hash.digest('hex')
}

/** What the file system has given to the directories of this name, in all chunkservers. */
async function diskUse(...names: string[]): Promise<number> {
  const paths = Array.from({ length: CHUNKSERVERS }, (_, i) =>
    names.map((name) => join(cluster.directory, `chunkserver-${i + 1}`, name)),
  ).flat()
  // Files come and go while it counts.
  const { output } = await tryRun('du', ['--summarize', '--block-size=1', ...paths])
  return [...output.matchAll(/^(\d+)\t/gm)].reduce((sum, match) => sum + Number(match[1]), 0)
}

interface MapPiece {
  readonly offset: number
  readonly length: number
  readonly description: string
}

async function mapOf(volume: string): Promise<MapPiece[]> {
  return JSON.parse(await execute('nbdinfo', '--map', '--json', uri(volume))) as MapPiece[]
}

function bytesOf(pieces: readonly MapPiece[], description: string): number {
  return pieces
    .filter((piece) => piece.description === description)
    .reduce((sum, { length }) => sum + length, 0)
}

async function nbdinfo(): Promise<void> {
  const info = await execute('nbdinfo', uri('disk'))
  const facts = [`export-size: ${DISK_BYTES} `, 'base:allocation', 'is_read_only: false']
  const abilities = ['flush', 'fua', 'trim', 'zero', 'fast_zero', 'multi_conn', 'df']
  facts.push(...abilities.map((ability) => `can_${ability}: true`))
  facts.push('block_size_preferred: 4096', 'block_size_maximum: 33554432')
  for (const fact of facts) check(info.includes(fact), `no '${fact}' in ${info}`)
  const list = await execute('nbdinfo', '--list', uri(''))
  for (const name of ['disk', 'image', 'copy', 'thin']) {
    check(list.includes(`export="${name}"`), `no ${name} in ${list}`)
  }
  const unknown = await tryRun('nbdinfo', [uri('no-such-volume')])
  check(unknown.code !== 0, 'a volume that does not exist was opened')
  say(`nbdinfo: size, ${abilities.length} abilities, contexts, list, a missing volume refused`)
}

async function nbdcopy(image: string): Promise<void> {
  await execute('truncate', '--size', String(IMAGE_BYTES), image)
  await execute('mkfs.ext4', '-q', '-F', '-d', FILES, image)
  const wanted = await sha256(image)
  const used = Number((await execute('du', '--block-size=1', image)).split('\t')[0])
  let startedMs = performance.now()
  await execute('nbdcopy', image, uri('image'))
  say(`nbdcopy in: ext4 of ${FILES}, ${mib(used)} in ${mib(IMAGE_BYTES)}, ${rate(used, startedMs)}`)

  const map = await mapOf('image')
  const data = bytesOf(map, 'data')
  check(data + bytesOf(map, 'hole,zero') === IMAGE_BYTES, 'the map does not cover the volume')
  check(data > 0 && data <= used + MIB, `the map has ${data} bytes of data, of ${used} written`)
  say(`nbdinfo --map: ${mib(data)} of data, holes for the rest, in ${map.length} pieces`)

  const back = join(scratch, 'back')
  startedMs = performance.now()
  await execute('nbdcopy', '--connections=4', uri('image'), back)
  say(`nbdcopy out: ${rate(used, startedMs)}`)
  check((await sha256(back)) === wanted, 'nbdcopy read other bytes than it wrote')
  await execute('e2fsck', '-fn', back)
  rmSync(back)
  say(`SHA-256 of ${mib(IMAGE_BYTES)} equal, e2fsck clean`)
}

async function qemuImg(image: string): Promise<void> {
  await execute('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri('copy'))
  const compare = (other: string): Promise<string> =>
    execute('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, other)
  await compare(uri('copy'))
  await compare(uri('image'))
  const data = bytesOf(await mapOf('copy'), 'data')
  say(`qemu-img: convert and compare, ${mib(data)} of data in the copy`)
}

async function patterns(): Promise<void> {
  await qemuIo('disk', 'write -P 0xab 1M 2M', 'read -P 0xab 1M 2M', 'flush')
  await qemuIo('disk', 'write -f -P 0xcd 4k 4k', 'read -P 0xcd 4k 4k')
  await qemuIo('disk', 'write -z -u 1M 512k', 'read -P 0 1M 512k')
  await qemuIo('disk', 'write -z 1536k 512k', 'read -P 0 1536k 512k', 'read -P 0xab 2M 1M')
  await qemuIo('disk', 'discard 2M 512k', 'read -P 0 2M 512k', 'read -P 0xab 2560k 512k')
  // Over the border of two chunks, and of parts of blocks.
  await qemuIo('disk', 'write -P 0x33 15M 2M', 'read -P 0x33 15M 2M')
  await qemuIo('disk', 'write -P 0x11 16776705 1021', 'read -P 0x11 16776705 1021')
  await qemuIo('disk', 'read -P 0x33 16775168 1537', 'read -P 0x33 16777726 514')
  await qemuIo('disk', 'discard 16776000 2000', 'read -P 0 16776000 2000')
  await qemuIo('disk', 'read -P 0x33 16775168 832', 'read -P 0x33 16778000 240')
  await qemuIo(
    'disk',
    `write -P 0x77 ${DISK_BYTES - 512} 512`,
    `read -P 0x77 ${DISK_BYTES - 512} 512`,
  )
  const wrong = await tryRun('qemu-io', ['-f', 'raw', '-c', 'read -P 1 1M 4k', uri('disk')])
  check(
    /verification failed/.test(wrong.output),
    `qemu-io does not see wrong bytes: ${wrong.output}`,
  )
  const end = `write ${DISK_BYTES - 512} 1024`
  const beyond = await tryRun('qemu-io', ['-f', 'raw', '-c', end, uri('disk')])
  check(/failed|larger|error/i.test(beyond.output), `a write beyond the end: ${beyond.output}`)
  say('qemu-io: patterns, FUA, zeros, discards, parts of blocks, chunk borders, the end')
}

/** Two connections that are open at the same time: what one has flushed the other sees at once. */
async function connections(): Promise<void> {
  const rounds = isShort ? 20 : 200
  const open = (): Conversation => new Conversation('qemu-io', ['-f', 'raw', uri('disk')])
  const sides = [open(), open()] as const
  const done = /ops\/sec|failed|error/i
  for (let round = 0; round < rounds; round++) {
    const [writer, reader] = round % 2 === 0 ? sides : [sides[1], sides[0]]
    const pattern = 1 + (round % 250)
    await writer.say(`write -P ${pattern} 40M 64k`, done)
    await writer.say('flush', /qemu-io> /)
    const answer = await reader.say(`read -P ${pattern} 40M 64k`, done)
    check(!/fail|error/i.test(answer), `round ${round}: ${answer}`)
  }
  await Promise.all(sides.map((side) => side.end('quit')))
  say(`two connections: each saw what the other had flushed, ${rounds} times`)
}

async function fio(): Promise<void> {
  const engine = ['--ioengine=nbd', `--uri=${uri('disk')}`, '--bs=4k', '--iodepth=32']
  const size = `--size=${FIO_BYTES}`
  const verify = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1']
  const output = await execute(
    'fio',
    ...engine,
    size,
    // fio 3.33 ends this mode at once when it does not begin at 0.
    '--name=trimmed',
    '--rw=randtrimwrite',
    '--name=verified',
    '--rw=randwrite',
    `--offset=${FIO_BYTES}`,
    ...verify,
    '--name=discarded',
    '--rw=randtrim',
    `--offset=${2 * FIO_BYTES}`,
    '--output-format=json',
  )
  // The engine prints a line of its own before the report.
  const { jobs } = JSON.parse(output.slice(output.indexOf('{'))) as { jobs: FioJob[] }
  for (const job of jobs) check(job.error === 0, `${job.jobname}: error ${job.error}`)
  const [trimmed, verified, discarded] = jobs as [FioJob, FioJob, FioJob]
  const blocks = FIO_BYTES / 4096
  check(
    verified.write.total_ios === blocks && verified.read.total_ios === blocks,
    'not all verified',
  )
  check(trimmed.trim.total_ios > 0 && trimmed.write.total_ios > 0, 'no trims between writes')
  check(discarded.trim.total_ios === blocks, 'not all blocks were discarded')
  await qemuIo('disk', `read -P 0 ${2 * FIO_BYTES} ${FIO_BYTES}`)
  const iops = Math.round(verified.write.iops)
  const trims = trimmed.trim.total_ios + discarded.trim.total_ios
  say(`fio: ${blocks} random writes verified by CRC32C beside ${trims} trims, ${iops} writes/s`)
}

interface FioSide {
  readonly total_ios: number
  readonly iops: number
}

interface FioJob {
  readonly jobname: string
  readonly error: number
  readonly read: FioSide
  readonly write: FioSide
  readonly trim: FioSide
}

async function thin(): Promise<void> {
  const emptyMs = performance.now()
  const hole = await mapOf('thin')
  check(hole.length === 1 && hole[0]?.length === TIB, 'an empty volume is not one hole')
  say(`thin: the map of an empty TiB in ${Math.round(performance.now() - emptyMs)} ms`)

  // Until what earlier checks wrote is in its files and what they freed is gone.
  await settled()
  const before = await diskUse('chunks')
  // At the beginning, in the middle and at the end.
  const places = [0, TIB / 2 - THIN_BYTES / 4, TIB - THIN_BYTES / 2].map((offset, i) => ({
    offset,
    length: i === 1 ? THIN_BYTES / 2 : THIN_BYTES / 4,
  }))
  const last = places[2] as { offset: number; length: number }
  last.offset = TIB - last.length
  const startedMs = performance.now()
  const pieces = places.flatMap(({ offset, length }) => cut(offset, length))
  await qemuIo('thin', ...pieces.map(({ offset, length }) => `write -P 7 ${offset} ${length}`))
  say(`thin: ${mib(THIN_BYTES)} written at three places, ${rate(THIN_BYTES, startedMs)}`)
  check(bytesOf(await mapOf('thin'), 'data') === THIN_BYTES, 'the map shows other data')
  await settled()
  const full = await diskUse('chunks')
  const copies = CHUNKSERVERS * THIN_BYTES
  check(full >= before + copies - CHUNKSERVERS * SPARE_BYTES, 'the data is not on the disks')
  check(full <= before + copies * 1.05 + SLACK_BYTES, `${full - before} bytes for ${THIN_BYTES}`)

  const discardMs = performance.now()
  await qemuIo('thin', ...pieces.map(({ offset, length }) => `discard ${offset} ${length}`))
  const bound = before + CHUNKSERVERS * SPARE_BYTES + SLACK_BYTES
  let after = full
  await until(
    async () => (after = await diskUse('chunks')) <= bound,
    SPACE_LIMIT_MS,
    () => `${mib(after)} on the disks, ${mib(before)} before the data`,
  )
  const seconds = ((performance.now() - discardMs) / 1000).toFixed(1)
  check(bytesOf(await mapOf('thin'), 'data') === 0, 'the map still shows data')
  await qemuIo('thin', ...pieces.map(({ offset, length }) => `read -P 0 ${offset} ${length}`))
  say(
    `thin: on the disks ${mib(before)} before, ${mib(full)} with ${CHUNKSERVERS} x ${mib(THIN_BYTES)}, ` +
      `${mib(after)} ${seconds} s after the discard (logs besides: ${mib(await diskUse('log'))})`,
  )
}

function cut(offset: number, length: number): { offset: number; length: number }[] {
  return Array.from({ length: Math.ceil(length / PIECE_BYTES) }, (_, i) => ({
    offset: offset + i * PIECE_BYTES,
    length: Math.min(PIECE_BYTES, length - i * PIECE_BYTES),
  }))
}

/** Until the disks' use has not changed for longer than writing back and dropping files take. */
async function settled(): Promise<void> {
  const quietMs = 8000
  let bytes = -1
  let sinceMs = 0
  await until(
    async () => {
      const now = await diskUse('chunks')
      if (now !== bytes) sinceMs = performance.now()
      bytes = now
      return performance.now() - sinceMs >= quietMs
    },
    SPACE_LIMIT_MS,
    () => 'the disks come to rest',
  )
}

try {
  const image = join(scratch, 'image')
  await create('disk', mibSize(DISK_BYTES))
  await create('image', mibSize(IMAGE_BYTES))
  await create('copy', mibSize(IMAGE_BYTES))
  const emptyBytes = await diskUse('chunks')
  await create('thin', '1TiB')
  const grownBytes = (await diskUse('chunks')) - emptyBytes
  check(grownBytes <= SLACK_BYTES, `an empty TiB takes ${grownBytes} bytes`)
  say(`a volume of 1 TiB made: ${grownBytes} bytes on the disks`)
  await nbdinfo()
  await nbdcopy(image)
  await qemuImg(image)
  rmSync(image)
  await patterns()
  await connections()
  await fio()
  await thin()
  const results = await cluster.json<{ chunks: number; findings: unknown[] }[]>('copyset', 'check')
  const chunks = results.reduce((sum, result) => sum + result.chunks, 0)
  check(chunks > 0 && results.every(({ findings }) => findings.length === 0), 'replicas differ')
  say(`copyset check: all replicas of ${chunks} chunks equal`)
} finally {
  await cluster.close()
  rmSync(scratch, { recursive: true, force: true })
}

function mibSize(bytes: number): string {
  return `${bytes / MIB}MiB`
}
