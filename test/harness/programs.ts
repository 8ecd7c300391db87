// Owns foreign programs that a check runs: each has a limit of time, its output is in the error when it
// fails, and none outlives this process.

import { type ChildProcess, spawn } from 'node:child_process'

const live = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of live) child.kill('SIGKILL')
})

export interface RunOptions {
  readonly limitMs?: number
  /** Some programs leave files where they run. */
  readonly directory?: string
}

const LIMIT_MS = 120_000

/** Runs a program to its end; what it printed. Throws with that when it fails. */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { output, code } = await tryRun(program, args, options)
  if (code === 0) return output
  throw new Error(`${program} ${args.join(' ')}: exit ${code}\n${output}`)
}

export function tryRun(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ output: string; code: number | string | null }> {
  return new Promise((resolve, reject) => {
    const child = start(program, args, options)
    let output = ''
    child.stdout?.on('data', (text: Buffer) => (output += String(text)))
    child.stderr?.on('data', (text: Buffer) => (output += String(text)))
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ output, code: code ?? signal }))
    child.stdin?.end()
  })
}

/** A program that talks: one line in, and its answer is what it prints up to `until`. */
export class Conversation {
  readonly #child: ChildProcess
  #output = ''
  #heard: () => void = () => {}

  constructor(program: string, args: readonly string[], options: RunOptions = {}) {
    this.#child = start(program, args, options)
    const hear = (text: Buffer): void => {
      this.#output += String(text)
      this.#heard()
    }
    this.#child.stdout?.on('data', hear)
    this.#child.stderr?.on('data', hear)
    this.#child.on('close', () => this.#heard())
  }

  async say(line: string, until: RegExp): Promise<string> {
    this.#output = ''
    this.#child.stdin?.write(`${line}\n`)
    while (!until.test(this.#output)) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`it ended at '${line}': ${this.#output}`)
      }
      await new Promise<void>((resolve) => (this.#heard = resolve))
    }
    return this.#output
  }

  async end(line: string): Promise<void> {
    if (this.#child.exitCode !== null) return
    const gone = new Promise<void>((resolve) => this.#child.once('close', () => resolve()))
    this.#child.stdin?.end(`${line}\n`)
    await gone
  }
}

function start(program: string, args: readonly string[], options: RunOptions): ChildProcess {
  const child = spawn(program, args, {
    timeout: options.limitMs ?? LIMIT_MS,
    killSignal: 'SIGKILL',
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  })
  live.add(child)
  child.once('close', () => live.delete(child))
  return child
}
