// Owns a volume as a block device of this machine in a proof: the commands a person gives, each within
// a limit, and a clean-up that leaves no mount, loop device or process whatever went wrong before.
// Invariant: nothing here waits for ever, also not for a program that hangs in the kernel.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mounts } from '../../src/platform/fuse-mount.ts'
import { ATTACH_DIRECTORY, AttachmentPaths } from '../../src/platform/loop-state.ts'
import type { DevCluster } from './dev-cluster.ts'
import { run, tryRun } from './programs.ts'

const LIMIT_MS = 60_000

/** What it resolves with, or an error after the limit; what was begun may go on. */
export function within<T>(limitMs: number, what: string, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`not within ${limitMs / 1000} s: ${what}`))
    const timer = setTimeout(late, limitMs)
    work.finally(() => clearTimeout(timer)).then(resolve, reject)
  })
}

/** A program that touches a device or what is mounted on it; what it printed. */
export function ask(program: string, ...args: string[]): Promise<string> {
  return askWithin(LIMIT_MS, program, ...args)
}

export function askWithin(limitMs: number, program: string, ...args: string[]): Promise<string> {
  const what = `${program} ${args.join(' ')}`
  return within(limitMs, what, run(program, args, { limitMs }))
}

export interface Attached {
  readonly device: string
  readonly link: string
  readonly pid: number
}

export class AttachedVolume {
  readonly name: string
  readonly #cluster: DevCluster
  readonly #mountPoints: string[] = []

  constructor(cluster: DevCluster, name: string) {
    this.#cluster = cluster
    this.name = name
  }

  attach(...words: string[]): Promise<Attached> {
    const work = this.#cluster.json<Attached>('attach', this.name, ...words)
    return within(LIMIT_MS, `attach ${this.name}`, work)
  }

  async detach(...words: string[]): Promise<void> {
    const work = this.#cluster.lemnis('detach', this.name, ...words)
    await within(LIMIT_MS, `detach ${this.name}`, work)
  }

  async mount(device: string, directory: string, ...options: string[]): Promise<void> {
    this.#mountPoints.push(directory)
    await ask('mount', ...options, device, directory)
  }

  get #paths(): AttachmentPaths {
    return new AttachmentPaths(ATTACH_DIRECTORY, this.name)
  }

  /** Null when it is not attached. */
  get device(): string | null {
    return this.#paths.readState()?.device ?? null
  }

  /** What the log of the device's process says. */
  log(): string {
    return readFileSync(this.#paths.log, 'utf8')
  }

  /** What is left of it in this machine's kernel and file system. */
  async leftovers(): Promise<string[]> {
    const { directory, link } = this.#paths
    const own = (path: string): boolean => path.startsWith(`${directory}/`)
    const mounted = (await mounts()).map(({ mountPoint }) => mountPoint)
    const loops = readdirSync('/sys/block').filter((name) => own(backingOf(name)))
    return [...mounted.filter(own), ...loops, ...(existsSync(link) ? [link] : [])]
  }

  /** Whatever state it is in. */
  async cleanUp(): Promise<void> {
    for (const directory of this.#mountPoints) await quietly('umount', '-l', directory)
    await this.detach('--force').catch(() => {})
    for (const left of await this.leftovers().catch(() => [])) {
      if (left.startsWith('loop')) await quietly('losetup', '--detach', `/dev/${left}`)
      else await quietly('umount', '-f', '-l', left)
    }
  }
}

/** The file under a loop device; empty for any other. */
function backingOf(name: string): string {
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim()
  } catch {
    return ''
  }
}

async function quietly(program: string, ...args: string[]): Promise<void> {
  const work = tryRun(program, args, { limitMs: 10_000 })
  await within(12_000, program, work).catch(() => {})
}
