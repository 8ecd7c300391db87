import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LineSink, type SinkTrouble } from './line-sink.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lemnis-sink-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

/** Runs compiled code that has a log called `log` and `say(count)`, which emits that many lines. */
function program(options: object, code: string): string[] {
  const module = join(import.meta.dirname, '../../dist/src/platform/log.js')
  const source = `
    import { Log } from ${JSON.stringify(module)}
    const log = new Log(${JSON.stringify(options)})
    const say = (n) => { for (let i = 0; i < n; i++) log.emit('raftlog_poisoned', { i }) }
    ${code}`
  return ['--input-type=module', '-e', source]
}

describe('LineSink', () => {
  it('writes lines in order, those that wait for a write in one go', () => {
    const path = join(directory, 'lines')
    const fd = openSync(path, 'w')
    const troubles: SinkTrouble[] = []
    const sink = new LineSink(fd, (trouble) => troubles.push(trouble))
    for (let i = 0; i < 1000; i++) sink.write(`${i}\n`)
    return expect
      .poll(() => readFileSync(path, 'utf8'))
      .toBe(Array.from({ length: 1000 }, (_, i) => `${i}\n`).join(''))
      .then(() => {
        expect(troubles).toEqual([])
        closeSync(fd)
      })
  })

  it('drops lines past its bound instead of growing, and says so', () => {
    const troubles: SinkTrouble[] = []
    const fd = openSync('/dev/null', 'w')
    const sink = new LineSink(fd, (trouble) => troubles.push(trouble))
    // The first megabyte is being written; eight wait; one is too much.
    for (let i = 0; i < 10; i++) sink.write('x'.repeat(1024 * 1024))
    expect(troubles).toEqual(['line-dropped'])
    sink.flush()
  })
})

describe('the log of a process', () => {
  it('has said everything when an exception ends the process', () => {
    const run = spawnSync(process.execPath, program({}, 'say(1000); throw new Error("the end")'))
    const errors = run.stderr.toString()
    expect(errors).toContain('the end')
    expect(errors.match(/"event":"raftlog_poisoned"/g)).toHaveLength(1000)
    expect(run.status).toBe(1)
  })

  it('waits at the end for a reader that is slow', async () => {
    const child = spawn(process.execPath, program({}, 'say(5000); process.exit(3)'), {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const said = await text(child.stderr)
    expect(said.match(/"event":"raftlog_poisoned"/g)).toHaveLength(5000)
  })

  it('does not keep a process alive whose disk is full', () => {
    for (const code of ['say(9)', 'say(9); setTimeout(() => process.exit(0), 20)']) {
      execFileSync(process.execPath, program({ path: '/dev/full' }, code))
    }
  })
})
