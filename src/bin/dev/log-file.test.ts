import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LogFile, shortLine } from './log-file.ts'

describe('shortLine', () => {
  it('tells warnings and errors with their facts', () => {
    const line = '{"level":"warn","event":"disk_full","fields":{"freeBytes":3},"msg":"Full."}'
    expect(shortLine(line)).toEqual({ event: 'disk_full', text: 'warn: Full. (freeBytes 3)' })
  })

  it('keeps quiet about the rest', () => {
    expect(shortLine('{"level":"info","event":"a","msg":"Fine."}')).toBeNull()
    expect(shortLine('')).toBeNull()
  })

  it('passes on what is no line of a log, such as the report of a crash', () => {
    expect(shortLine('Error: no')?.text).toBe('Error: no')
    expect(shortLine('    at file.js:3')).toBeNull()
    expect(shortLine('{broken')?.text).toBe('{broken')
  })
})

describe('LogFile', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lemnis-devlog-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it('keeps everything, and tells an event once however the text is cut', () => {
    const told: string[] = []
    const log = new LogFile(join(directory, 'mds.log'), (text) => told.push(text))
    const line = '{"level":"error","event":"x","msg":"Bad."}\n'
    for (const part of [line.slice(0, 9), line.slice(9), line]) log.write(part)
    log.close()
    expect(told).toEqual(['error: Bad.'])
    expect(readFileSync(log.path, 'utf8')).toBe(line + line)
  })

  it('begins a new file when the old one is large', () => {
    const log = new LogFile(join(directory, 'mds.log'), () => {})
    const large = `{"level":"info","pad":"${'x'.repeat(17 * 1024 * 1024)}"}\n`
    log.write(large)
    log.write('{"level":"info"}\n')
    log.close()
    expect(readFileSync(`${log.path}.1`, 'utf8')).toBe(large)
    expect(readFileSync(log.path, 'utf8')).toBe('{"level":"info"}\n')
  })
})
