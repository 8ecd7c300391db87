// Owns what is known on this host about attached volumes: one directory each, with the lock of the
// process that serves it, what that process wrote down, and the mount point.
// Invariants: only the holder of the lock writes the state; it is written before each step that
// leaves something behind in the kernel, so that whoever comes after a crash knows where to look.

import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { FILE_NAME } from '../attach/fuse-protocol.ts'
import { LemnisError } from '../base/errors.ts'

/** Gone after a reboot, as the devices are. */
export const ATTACH_DIRECTORY = '/run/lemnis/attach'
export const LINK_DIRECTORY = '/dev/lemnis'

export interface AttachmentState {
  readonly volume: string
  readonly pid: number
  /** When the process began, in ticks since boot: a pid alone may be another process's by now. */
  readonly pidStart: number
  /** 'starting' until the device can be used. */
  readonly phase: 'starting' | 'ready'
  /** `/dev/loopN`; empty while starting. */
  readonly device: string
  /** `/dev/lemnis/NAME`, a link to the device. */
  readonly link: string
  readonly mountPoint: string
  readonly sizeBytes: number
  readonly readOnly: boolean
  /** Addresses of the metadata service. */
  readonly mds: readonly string[]
  readonly sinceMs: number
  /** As who the process has the volume open; null for reading, absent in a state of an older version. */
  readonly writer?: AttachedWriter | null
}

/** What the metadata service knows a writer by. */
export interface AttachedWriter {
  readonly volumeId: number
  readonly client: string
  readonly epoch: number
}

/** The places of one attachment. */
export class AttachmentPaths {
  readonly directory: string
  readonly link: string
  readonly log: string
  readonly #state: string

  constructor(root: string, volume: string) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(volume)) {
      throw new LemnisError('INVALID_ARGUMENT', { volume, expected: 'the name of a volume' })
    }
    this.directory = join(root, volume)
    this.link = join(LINK_DIRECTORY, volume)
    this.log = join(this.directory, 'log')
    this.#state = join(this.directory, 'state.json')
  }

  /**
   * Loop devices are found by the path of their file, and containers see the loop devices of each other:
   * the same path in another one is another directory, and must not be taken for this one.
   */
  get mountPoint(): string {
    const { dev, ino } = statSync(this.directory)
    return join(this.directory, `mount-${dev}-${ino}`)
  }

  get file(): string {
    return join(this.mountPoint, FILE_NAME)
  }

  make(): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 })
  }

  writeState(state: AttachmentState): void {
    const next = `${this.#state}.new`
    writeFileSync(next, `${JSON.stringify(state, null, 2)}\n`)
    renameSync(next, this.#state)
  }

  /** Null when there is none, or none that can be read. */
  readState(): AttachmentState | null {
    try {
      return JSON.parse(readFileSync(this.#state, 'utf8')) as AttachmentState
    } catch {
      return null
    }
  }

  removeState(): void {
    rmSync(this.#state, { force: true })
  }
}

/** Names of volumes that have a directory here, attached or not. */
export function knownVolumes(root: string): string[] {
  try {
    return readdirSync(root).toSorted()
  } catch {
    return []
  }
}

/** Field 22 of /proc/PID/stat (proc(5)); null when no such process runs. */
export function pidStartOf(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, a name in parentheses, may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    // A process that has ended and was not waited for is still listed.
    return fields[0] === 'Z' || fields[0] === 'X' ? null : Number(fields[19])
  } catch {
    return null
  }
}

export function isServed(state: AttachmentState): boolean {
  return pidStartOf(state.pid) === state.pidStart
}
