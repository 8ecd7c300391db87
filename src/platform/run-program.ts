// Owns the running of the system's small programs (mount, losetup): to their end, with a time limit,
// their output kept for the error message. The event loop goes on meanwhile, which matters: some of
// them wait for a file system that this very process serves.

import { spawn, spawnSync } from 'node:child_process'
import { LemnisError } from '../base/errors.ts'

/** None of these programs does more than a few system calls. */
const LIMIT_MS = 30_000
const OUTPUT_CHARACTERS_MAX = 4096

/** `fd` becomes the program's descriptor 3. Resolves with what it wrote; rejects when it fails. */
export function runProgram(program: string, args: readonly string[], fd?: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe', fd ?? 'ignore'],
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
      env: { ...process.env, LC_ALL: 'C' },
    })
    let output = ''
    const keep = (text: Buffer): void => {
      output = (output + String(text)).slice(0, OUTPUT_CHARACTERS_MAX)
    }
    const fail = (reason: string): void => {
      const command = `${program} ${args.join(' ')}`
      reject(new LemnisError('INTERNAL', { command, reason, output: output.trim() }))
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.on('error', (error) => fail(error.message))
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output.trim())
      else fail(signal === null ? `exit ${code}` : `ended by ${signal}`)
    })
  })
}

/**
 * The same, holding up this thread: for the very end of a process. True when it did what it should.
 * It must not be a program that waits for this process.
 */
export function runProgramSync(program: string, args: readonly string[], limitMs: number): boolean {
  return spawnSync(program, args, { timeout: limitMs, killSignal: 'SIGKILL' }).status === 0
}
