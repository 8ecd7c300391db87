// Real NBD clients against the server over volumes in memory: nbdinfo, nbdcopy, qemu-img, qemu-io and
// fio's nbd engine, by TCP and by unix socket. A program that is not installed is skipped by name.
// Usage: node dist/test/e2e/nbd.js [--load SECONDS]: with --load it measures instead, 4 KiB at depth 32.

import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { nbdConfig } from '../../src/attach/config.ts'
import { NbdServer } from '../../src/attach/nbd-server.ts'
import { RamDevice } from '../../src/attach/testing/ram-device.ts'
import { LemnisError } from '../../src/base/errors.ts'
import { MIB } from '../../src/base/units.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'

const { values } = parseArgs({ options: { load: { type: 'string' } } })
const LIMIT_MS = 60_000
const VOLUME_BYTES = 64 * MIB

const directory = mkdtempSync(join(tmpdir(), 'lemnis-nbd-'))
const devices = new Map([
  ['one', new RamDevice(VOLUME_BYTES)],
  ['two', new RamDevice(VOLUME_BYTES)],
  ['read-only', new RamDevice(VOLUME_BYTES, true)],
])
/** Two servers use each: a closing by one must not end it for the other. */
for (const device of devices.values()) device.close = () => Promise.resolve()
const exports = {
  list: () => Promise.resolve([...devices.keys()]),
  open: (name: string) => {
    const device = devices.get(name)
    if (device === undefined) throw new LemnisError('NOT_FOUND', { volume: name })
    return Promise.resolve(device)
  },
}
const env = nodeEnv(directory)
const options = { exports, config: nbdConfig({ nbdLingerMs: 100 }) }
const tcp = await NbdServer.listen(env, SILENT, '127.0.0.1:0', options)
const socket = join(directory, 'nbd.sock')
const unix = await NbdServer.listen(env, SILENT, `unix:${socket}`, options)
const uri = (name: string): string => `nbd://${tcp.address}/${name}`
const unixUri = (name: string): string => `nbd+unix:///${name}?socket=${socket}`

function deviceOf(name: string): RamDevice {
  return devices.get(name) as RamDevice
}

/** Runs a client to its end; throws with its output when it fails. */
function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    // Some of them leave files where they run.
    const where = { cwd: directory, timeout: LIMIT_MS }
    const child = spawn(program, args, { ...where, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (text: Buffer) => (output += String(text)))
    child.stderr.on('data', (text: Buffer) => (output += String(text)))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(output)
      else reject(new Error(`${program} ${args.join(' ')}: exit ${code}\n${output}`))
    })
  })
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(what)
}

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function nbdinfo(): Promise<void> {
  const info = await run('nbdinfo', [uri('one')])
  expect(info.includes(`export-size: ${VOLUME_BYTES}`), info)
  expect(/block_size_maximum: 33554432/.test(info), info)
  for (const fact of ['is_read_only: false', 'can_multi_conn: true', 'can_fua: true']) {
    expect(info.includes(fact), `${fact} in ${info}`)
  }
  const list = await run('nbdinfo', ['--list', unixUri('')])
  for (const name of devices.keys()) expect(list.includes(`export="${name}"`), list)
  const readOnly = await run('nbdinfo', [uri('read-only')])
  expect(readOnly.includes('is_read_only: true'), readOnly)
  const missing = await run('nbdinfo', [uri('missing')]).catch(String)
  expect(missing.includes('No such file'), missing)
}

async function nbdcopy(): Promise<void> {
  const device = deviceOf('one')
  const image = join(directory, 'image')
  const bytes = new Uint8Array(VOLUME_BYTES)
  bytes.set(randomBytes(5 * MIB), 3 * MIB + 512)
  bytes.set(randomBytes(100_000), VOLUME_BYTES - 100_000)
  writeFileSync(image, bytes)
  await run('nbdcopy', ['--connections=4', image, uri('one')])
  expect(sha(device.bytes) === sha(bytes), 'nbdcopy wrote other bytes')
  const map = await run('nbdinfo', ['--map', uri('one')])
  expect(/hole,zero/.test(map) && /allocated|data/.test(map), map)
  const back = join(directory, 'back')
  await run('nbdcopy', [unixUri('one'), back])
  expect(sha(readFileSync(back)) === sha(bytes), 'nbdcopy read other bytes')
}

async function qemuImg(): Promise<void> {
  const image = join(directory, 'image.qcow2')
  const info = await run('qemu-img', ['info', uri('one')])
  expect(info.includes(`(${VOLUME_BYTES} bytes)`), info)
  await run('qemu-img', ['convert', '-O', 'qcow2', uri('one'), image])
  await run('qemu-img', ['convert', '-n', '-O', 'raw', image, uri('two')])
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', uri('one'), unixUri('two')])
  expect(sha(deviceOf('two').bytes) === sha(deviceOf('one').bytes), 'qemu-img copied other bytes')
  const map = await run('qemu-img', ['map', '--output=json', uri('two')])
  expect(map.includes('"zero": true'), map)
}

async function qemuIo(): Promise<void> {
  const device = deviceOf('two')
  const io = (...commands: string[]): Promise<string> =>
    run('qemu-io', ['-f', 'raw', ...commands.flatMap((c) => ['-c', c]), uri('two')])
  await io('write -P 0xab 1M 2M', 'read -P 0xab 1M 2M', 'flush')
  expect(device.bytes[MIB] === 0xab && device.calls.flush > 0, 'write and flush')
  const { fua, writeZeroes, discard } = device.calls
  await io('write -f -P 0xcd 4k 4k', 'read -P 0xcd 4k 4k')
  expect(device.calls.fua > fua, 'FUA reached the device')
  await io('write -z -u 1M 512k', 'read -P 0 1M 512k')
  expect(device.calls.writeZeroes > writeZeroes, 'zeros as a hole')
  await io('write -z 1536k 512k', 'read -P 0 1536k 512k', 'read -P 0xab 2M 1M')
  await io('discard 2M 1M', 'read -P 0 2M 1M')
  expect(device.calls.discard > discard, 'TRIM reached the device')
  await io('write -P 0x11 513 1021', 'read -P 0x11 513 1021')
  const beyond = await io(`read ${VOLUME_BYTES - 512} 1024`).catch(String)
  expect(/failed|larger|error/i.test(beyond), beyond)
  const args = ['-f', 'raw', '-r', '-c', 'read 0 4k', uri('read-only')]
  expect((await run('qemu-io', args)).includes('4 KiB'), 'a read-only export is read')
}

const fioArgs = (rw: string, name: string, seconds: string): string[] => [
  '--name=nbd',
  '--ioengine=nbd',
  `--uri=${name}`,
  `--rw=${rw}`,
  '--bs=4k',
  '--iodepth=32',
  `--runtime=${seconds}`,
  '--time_based',
  '--output-format=json',
]

async function fio(): Promise<void> {
  const verify = ['--size=16m', '--verify=crc32c', '--verify_fatal=1']
  const args = fioArgs('randwrite', uri('two'), '1').filter((arg) => arg !== '--time_based')
  await run('fio', [...args.filter((arg) => !arg.startsWith('--runtime')), ...verify])
}

async function load(seconds: string): Promise<void> {
  for (const rw of ['randread', 'randwrite']) {
    for (const [kind, name] of [
      ['tcp', uri('one')],
      ['unix', unixUri('one')],
    ] as const) {
      const before = process.cpuUsage()
      const output = await run('fio', fioArgs(rw, name, seconds))
      // The engine prints a line of its own before the report.
      const job = JSON.parse(output.slice(output.indexOf('{'))).jobs[0]
      const cpu = process.cpuUsage(before)
      const side = rw === 'randread' ? job.read : job.write
      const us = (cpu.user + cpu.system) / side.total_ios
      console.log(
        `${rw} ${kind}: ${Math.round(side.iops)} per second, ${us.toFixed(1)} us CPU each`,
      )
    }
  }
}

const has = (program: string): boolean => spawnSync('which', [program]).status === 0
const hasFioEngine = (): boolean =>
  has('fio') && /^\s*nbd$/m.test(String(spawnSync('fio', ['--enghelp']).stdout))

const steps: readonly (readonly [string, () => boolean, () => Promise<void>])[] = [
  ['nbdinfo', () => has('nbdinfo'), nbdinfo],
  ['nbdcopy', () => has('nbdcopy'), nbdcopy],
  ['qemu-img', () => has('qemu-img'), qemuImg],
  ['qemu-io', () => has('qemu-io'), qemuIo],
  ["fio's nbd engine", hasFioEngine, fio],
]
try {
  if (values.load !== undefined) {
    await load(values.load)
  } else {
    const done: string[] = []
    for (const [name, isThere, step] of steps) {
      if (isThere()) {
        await step()
        done.push(name)
      } else console.log(`skipped ${name}: not installed`)
    }
    console.log(`${done.length} of ${steps.length} clients: ${done.join(', ')}`)
  }
} finally {
  await tcp.close()
  await unix.close()
  rmSync(directory, { recursive: true, force: true })
}
