import { describe, expect, it } from 'vitest'
import { InvariantError } from '../../base/assert.ts'
import { LemnisError } from '../../base/errors.ts'
import { CommandError, reportFailure } from './failure.ts'
import { Io } from './io.ts'

function makeIo(options: { json?: boolean; colour?: boolean } = {}) {
  const printed = { out: '', error: '' }
  const io = new Io({
    json: options.json ?? false,
    colour: options.colour ?? false,
    write: (text) => void (printed.out += text),
    writeError: (text) => void (printed.error += text),
  })
  return { io, printed }
}

describe('Io', () => {
  it('aligns columns two spaces apart, numbers to the right, without trailing blanks', () => {
    const { io } = makeIo()
    const text = io.table(
      ['NAME', 'SIZE', 'AT'],
      [
        ['disk1', '10 GiB', '127.0.0.1:1'],
        ['a', '512 MiB', 'b'],
      ],
    )
    expect(text).toBe(
      ['NAME      SIZE  AT', 'disk1   10 GiB  127.0.0.1:1', 'a      512 MiB  b'].join('\n'),
    )
  })

  it('keeps columns aligned in colour', () => {
    const { io } = makeIo({ colour: true })
    const plain = io.table(
      ['A', 'B'],
      [
        [io.paint('red', 'bad'), 'x'],
        ['good', 'y'],
      ],
    )
    // oxlint-disable-next-line no-control-regex
    const lines = plain.replaceAll(/\u001B\[\d+m/g, '').split('\n')
    expect(lines).toEqual(['A     B', 'bad   x', 'good  y'])
    expect(plain).toContain('\u001B[31mbad\u001B[0m')
  })

  it('prints the value for programs and the text for people', () => {
    const people = makeIo()
    people.io.result({ a: 1 }, () => 'one')
    expect(people.printed.out).toBe('one\n')
    const program = makeIo({ json: true })
    program.io.result({ a: 1 }, () => 'one')
    expect(JSON.parse(program.printed.out)).toEqual({ a: 1 })
  })

  it('lists facts below each other', () => {
    expect(
      makeIo().io.facts([
        ['name', 'a'],
        ['write epoch', '3'],
      ]),
    ).toBe('name         a\nwrite epoch  3')
  })
})

describe('reportFailure', () => {
  it('says what it means, the facts, and what helps; exit code 1', () => {
    const { io, printed } = makeIo()
    expect(reportFailure(io, new LemnisError('IN_USE', { holder: 'nbd on a' }))).toBe(1)
    expect(printed.error).toMatch(
      /^error: Another client has .*\n {2}holder nbd on a\n {2}→ .*--force/,
    )
  })

  it('is one JSON value for programs, on standard error', () => {
    const { io, printed } = makeIo({ json: true })
    reportFailure(io, new LemnisError('NOT_FOUND', { name: 'x' }))
    expect(JSON.parse(printed.error)).toMatchObject({
      error: { code: 'NOT_FOUND', detail: { name: 'x' } },
    })
    expect(printed.out).toBe('')
  })

  it('has exit codes of its own for bugs and failed disks', () => {
    expect(reportFailure(makeIo().io, new InvariantError('no'))).toBe(70)
    expect(reportFailure(makeIo().io, new LemnisError('DISK_FAILED'))).toBe(74)
    expect(reportFailure(makeIo().io, new CommandError('It is so.', 'Do that.'))).toBe(1)
  })
})
