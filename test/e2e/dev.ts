// `lemnis dev` from outside, as a person uses it: started on an empty directory, a volume made, written
// and read through the client, a role killed, everything stopped by Ctrl-C, started again with the data
// there, and killed by -9 without leaving a process. Usage: node dist/test/e2e/dev.js [--keep]

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/client/client.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { freePorts } from '../harness/ports.ts'

const PROGRAM = fileURLToPath(new URL('../../src/bin/lemnis.js', import.meta.url))
const MIB = 1024 * 1024
const EMPTY_BYTES_MAX = 200 * MIB
const WAIT_MS = 60_000

function check(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(what)
}

async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + WAIT_MS
  while (!(await isSo())) {
    check(performance.now() < endMs, `not within ${WAIT_MS / 1000} s: ${what}`)
    await sleep(50)
  }
}

class Dev {
  readonly data: string
  readonly #port: number
  #process: ChildProcess | null = null
  output = ''

  constructor(data: string, port: number) {
    this.data = data
    this.#port = port
  }

  get mds(): string {
    return `127.0.0.1:${this.#port}`
  }

  /** Resolves with the seconds until everything serves. */
  async start(): Promise<number> {
    const startedMs = performance.now()
    const words = ['dev', '--data', this.data, '--port-base', String(this.#port)]
    const child = spawn(process.execPath, [PROGRAM, ...words, '--nbd-port', String(this.#port + 9)])
    this.#process = child
    this.output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.output += text))
    await until(`dev serves:\n${this.output}`, () => {
      check(child.exitCode === null, `dev ended:\n${this.output}`)
      return this.output.includes('Ctrl-C stops everything')
    })
    return (performance.now() - startedMs) / 1000
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#process as ChildProcess
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
    return child.exitCode
  }

  /** A command of the CLI; its JSON. */
  async lemnis(...words: string[]): Promise<unknown> {
    const all = [PROGRAM, '--mds', this.mds, '--json', ...words]
    return new Promise((resolve, reject) => {
      execFile(process.execPath, all, (error, stdout, stderr) => {
        if (error === null) resolve(JSON.parse(stdout))
        else reject(new Error(`lemnis ${words.join(' ')}: ${stderr}${stdout}`))
      })
    })
  }

  /** Processes of this cluster that still run, but for dev itself. */
  roles(): number[] {
    return [...this.output.matchAll(/^\S+ +127\.0\.0\.1:\d+ +http\S+ +(\d+)/gm)]
      .map((match) => Number(match[1]))
      .filter((pid) => isRole(pid, this.data, this.mds))
  }
}

function isRole(pid: number, data: string, mds: string): boolean {
  const path = `/proc/${pid}/cmdline`
  if (!existsSync(path)) return false
  const line = readFileSync(path, 'utf8')
  return line.includes(data) || line.includes(mds)
}

function diskUse(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    execFile('du', ['-s', '--block-size=1', path], (error, stdout) => {
      if (error === null) resolve(Number.parseInt(stdout, 10))
      else reject(error)
    })
  })
}

/** Different at every offset, so that a block in the wrong place is seen. */
function pattern(seed: number): Uint8Array {
  const words = new Uint32Array((4 * MIB) / 4)
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + seed, 0x9e37_79b1)
  return new Uint8Array(words.buffer)
}

async function withVolume(
  dev: Dev,
  work: (volume: Awaited<ReturnType<ReturnType<typeof connect>['open']>>) => Promise<void>,
): Promise<void> {
  const client = connect(nodeEnv('/'), SILENT, { mds: [dev.mds], name: 'e2e' })
  try {
    const volume = await client.open('disk1')
    await work(volume)
    await volume.close()
  } finally {
    await client.close()
  }
}

async function expectPattern(dev: Dev, seed: number): Promise<void> {
  await withVolume(dev, async (volume) => {
    const read = await volume.read(20 * MIB, 4 * MIB)
    check(Buffer.compare(read, pattern(seed)) === 0, `what was read is not pattern ${seed}`)
  })
}

const directory = mkdtempSync(join(tmpdir(), 'lemnis-dev-'))
const dev = new Dev(join(directory, 'data'), await freePorts())
try {
  console.log(`started in ${(await dev.start()).toFixed(1)} s`)
  const bytes = await diskUse(dev.data)
  console.log(`an empty cluster takes ${(bytes / MIB).toFixed(0)} MiB`)
  check(bytes < EMPTY_BYTES_MAX, 'an empty cluster takes too much')

  const second = new Dev(dev.data, await freePorts())
  const refusal = await second.start().catch((error: unknown) => String(error))
  check(String(refusal).includes('already'), `a second dev on the same data: ${refusal}`)

  await dev.lemnis('volume', 'create', 'disk1', '--size', '1GiB')
  await withVolume(dev, (volume) => volume.write(20 * MIB, pattern(1)))
  await expectPattern(dev, 1)

  const pid = dev.roles()[1] as number
  process.kill(pid, 'SIGKILL')
  await withVolume(dev, (volume) => volume.write(20 * MIB, pattern(2)))
  await until('the chunkserver serves again', () => dev.output.includes('serves again'))
  await expectPattern(dev, 2)
  console.log('a killed chunkserver came back, and nothing was lost')

  check((await dev.end('SIGINT')) === 0, `Ctrl-C: not a clean end:\n${dev.output}`)
  check(dev.roles().length === 0, 'roles are left after Ctrl-C')
  console.log(`started again in ${(await dev.start()).toFixed(1)} s`)
  await expectPattern(dev, 2)

  await dev.end('SIGKILL')
  await until('no role is left', () => dev.roles().length === 0)
  console.log(`started after kill -9 in ${(await dev.start()).toFixed(1)} s`)
  await expectPattern(dev, 2)
  const results = (await dev.lemnis('copyset', 'check')) as { chunks: number }[]
  const chunks = results.reduce((sum, result) => sum + result.chunks, 0)
  check(chunks > 0, 'no chunk was compared')
  check((await dev.end('SIGINT')) === 0, `not a clean end:\n${dev.output}`)
  console.log(`all replicas of ${chunks} chunks are equal; nothing is left running`)
} finally {
  await dev.end('SIGKILL').catch(() => {})
  await until('no role is left', () => dev.roles().length === 0)
  if (!process.argv.includes('--keep')) rmSync(directory, { recursive: true, force: true })
}
