// Owns three replica processes on this machine: starts, asks, kills and restarts them.

import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { DATA_PROCESS_FLAGS } from '../../src/platform/runtime.ts'
import type { FromReplica, GroupStatus, ReplicaSettings, ToReplica } from './messages.ts'

const PROGRAM = fileURLToPath(new URL('./replica-process.js', import.meta.url))

interface Member {
  readonly host: number
  process: ChildProcess
  address: string
}

export interface ClusterOptions {
  readonly directory: string
  readonly groups: number
  readonly hosts?: readonly number[]
  readonly checkpointBytes?: number
}

export class ReplicaCluster {
  readonly hosts: readonly number[]
  readonly #options: ClusterOptions
  readonly #members = new Map<number, Member>()

  constructor(options: ClusterOptions) {
    this.#options = options
    this.hosts = options.hosts ?? [1, 2, 3]
  }

  addressOf(host: number): string | undefined {
    return this.#members.get(host)?.address
  }

  /** Starts every host that does not run, and waits until all serve. */
  async start(): Promise<void> {
    await Promise.all(this.hosts.map((host) => this.#listen(host)))
    const addresses = Object.fromEntries([...this.#members].map(([host, m]) => [host, m.address]))
    const members = [...this.#members.values()]
    await Promise.all(members.map((m) => this.#ask(m, { kind: 'addresses', addresses }, 'up')))
  }

  async #listen(host: number): Promise<void> {
    const { directory, groups, checkpointBytes } = this.#options
    const own = `${directory}/host-${host}`
    mkdirSync(own, { recursive: true })
    const settings: ReplicaSettings = {
      host,
      hosts: this.hosts,
      groups,
      directory: own,
      port: 0,
      ...(checkpointBytes === undefined ? {} : { checkpointBytes }),
    }
    const process = fork(PROGRAM, [JSON.stringify(settings)], { execArgv: [...DATA_PROCESS_FLAGS] })
    const member: Member = { host, process, address: '' }
    this.#members.set(host, member)
    member.address = (await this.#hear(member, 'listening')).address
  }

  /** kill -9 of every process at once; resolves when all are gone. */
  async killAll(): Promise<void> {
    const members = [...this.#members.values()]
    const gone = members.map(
      (m) => new Promise<void>((resolve) => m.process.once('exit', () => resolve())),
    )
    for (const member of members) member.process.kill('SIGKILL')
    await Promise.all(gone)
    this.#members.clear()
  }

  async close(): Promise<void> {
    const members = [...this.#members.values()]
    await Promise.all(
      members.map(
        (m) =>
          new Promise<void>((resolve) => {
            m.process.once('exit', () => resolve())
            this.#send(m, { kind: 'close' })
          }),
      ),
    )
    this.#members.clear()
  }

  /** CPU time that all hosts have used so far, and the memory of the largest. */
  async cpuMicros(): Promise<number> {
    const members = [...this.#members.values()]
    const answers = await Promise.all(members.map((m) => this.#ask(m, { kind: 'cpu' }, 'cpu')))
    return answers.reduce((sum, answer) => sum + answer.micros, 0)
  }

  async status(): Promise<Map<number, readonly GroupStatus[]>> {
    const out = new Map<number, readonly GroupStatus[]>()
    for (const member of this.#members.values()) {
      out.set(member.host, (await this.#ask(member, { kind: 'status' }, 'status')).groups)
    }
    return out
  }

  #send(member: Member, message: ToReplica): void {
    member.process.send(message)
  }

  #ask<K extends FromReplica['kind']>(
    member: Member,
    message: ToReplica,
    kind: K,
  ): Promise<Extract<FromReplica, { kind: K }>> {
    const answer = this.#hear(member, kind)
    this.#send(member, message)
    return answer
  }

  #hear<K extends FromReplica['kind']>(
    member: Member,
    kind: K,
  ): Promise<Extract<FromReplica, { kind: K }>> {
    return new Promise((resolve, reject) => {
      const { process } = member
      const onMessage = (message: FromReplica): void => {
        if (message.kind !== kind) return
        process.off('message', onMessage)
        process.off('exit', onExit)
        resolve(message as Extract<FromReplica, { kind: K }>)
      }
      const onExit = (code: number | null): void => {
        reject(new Error(`host ${member.host} ended with ${code} before it said ${kind}`))
      }
      process.on('message', onMessage)
      process.once('exit', onExit)
    })
  }
}
