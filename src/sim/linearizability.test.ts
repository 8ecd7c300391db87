import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Prng } from '../base/prng.ts'
import { History, type Operation, type RegisterValue } from './history.ts'
import { checkHistory } from './linearizability.ts'

/**
 * A history from a picture: one line a client, time from left to right. `[w a  ]` writes a,
 * `[r a]` has read a, `[c a b +]` swapped a to b, `[c a b -]` was refused; without `]` it never returned.
 */
function picture(lines: string): Operation[] {
  const operations: Operation[] = []
  for (const [client, line] of lines.split('\n').entries()) {
    for (const match of line.matchAll(/\[([^\][]*)(\]?)/g)) {
      const [kind, first = '', second = '', sign] = (match[1] as string).trim().split(/\s+/)
      const value = (text: string): RegisterValue => (text === '0' ? null : text)
      const isOpen = match[2] === ''
      operations.push({
        client,
        key: 'x',
        kind: kind === 'w' ? 'write' : kind === 'r' ? 'read' : 'cas',
        value: kind === 'c' ? value(second) : kind === 'w' ? value(first) : null,
        expected: kind === 'c' ? value(first) : null,
        output: kind === 'r' ? value(first) : null,
        swapped: sign === '+',
        invoked: match.index + client / 100,
        invokedAtUs: match.index,
        returned: isOpen
          ? Number.POSITIVE_INFINITY
          : match.index + match[0].length - 0.5 + client / 100,
        returnedAtUs: match.index + match[0].length,
      })
    }
  }
  return operations
}

function verdictOf(lines: string): string {
  return checkHistory(picture(lines)).verdict
}

describe('linearizability', () => {
  it.each([
    ['one after the other', '[w a][r a][w b][r b][c b c +][r c][c b d -]'],
    ['nothing at first', '[r 0][c 0 a +][r a]'],
    ['a read during a write sees it', '[w a    ]\n  [r a]'],
    ['a read during a write does not see it', '[w a    ]\n  [r 0]'],
    ['reads during a write, first old, then new', '[w a          ]\n [r 0] [r a]'],
    ['an unknown write that took effect late', '[w a\n    [w b][r b]   [r a]'],
    ['an unknown write that never took effect', '[w a\n    [w b][r b]   [r b]'],
    ['an unknown cas that explains a value', '[w a][c a b\n              [r b]'],
    ['an unknown cas that can have failed', '[w a][c x b\n              [r a]'],
    ['an unknown write that explains a refusal', '[w a\n    [w b]     [c b c -]'],
    ['an unknown read says nothing', '[w a][r z\n         [r a]'],
    ['concurrent writes in either order', '[w a  ]\n[w b  ]\n       [r a][r a]'],
  ])('accepts %s', (_, lines) => {
    expect(verdictOf(lines)).toBe('linearizable')
  })

  it.each([
    ['a stale read', '[w a][w b][r a]'],
    ['a lost write', '[w a][r 0]'],
    ['a value from nowhere', '[w a][r z]'],
    ['reads during a write, first new, then old', '[w a          ]\n [r a] [r 0]'],
    ['two swaps of one value', '[w a]\n     [c a b +][c a c +]'],
    ['a refusal though the value was there', '[w a][c a b -]'],
    ['an unknown write read before its call', '     [w a\n[r a]'],
    ['an unknown write that comes and goes', '[w a\n   [w b][r a][r b]'],
    ['a cas after all', '[w a]\n     [c b c +]'],
    [
      'two readers that disagree on an order',
      '[w a          ]\n[w b          ]\n  [r a]  [r b]\n   [r b]    [r a]   [r a][r b]',
    ],
  ])('finds %s', (_, lines) => {
    expect(verdictOf(lines)).toBe('violation')
  })

  it('shows the smallest window', () => {
    const before = '[w a][r a][w b][r b]'.repeat(20)
    const verdict = checkHistory(picture(`${before}[w c][w d][r c][w e][r e]`))
    if (verdict.verdict !== 'violation') throw new Error('no violation')
    expect(verdict.text.split('\n')).toEqual([
      'key x:',
      'client 0       0.000405 -     0.000410  write d',
      'client 0       0.000410 -     0.000415  read: c',
    ])
  })

  it('judges keys apart and says which is wrong', () => {
    const good = picture('[w a][r a]')
    const bad = picture('[w a][r b]').map((operation) => ({ ...operation, key: 'y' }))
    expect(checkHistory([...good, ...bad])).toMatchObject({ verdict: 'violation', key: 'y' })
    expect(checkHistory([]).verdict).toBe('linearizable')
  })

  it('gives up at its bound, and only then', () => {
    // Twenty unknown writes whose values are all spoken of: many orders.
    const lines = Array.from({ length: 12 }, (_, i) => `[w v${i}`)
    const reads = Array.from({ length: 12 }, (_, i) => `[r v${11 - i}]`).join('')
    const history = picture([...lines, `          ${reads}[r v3]`].join('\n'))
    expect(checkHistory(history, { exploredMax: 100 })).toMatchObject({
      verdict: 'gave up',
      key: 'x',
    })
    expect(checkHistory(history).verdict).toBe('violation')
  })

  it('judges a long history of many clients with little memory', () => {
    const { operations } = simulate(new Prng(11), 3000, 8, 0.02, 0)
    expect(checkHistory(operations, { exploredMax: 50_000 }).verdict).toBe('linearizable')
  })

  it('agrees with trying every order', () => {
    let good = 0
    let bad = 0
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const random = new Prng(seed)
        const { operations } = simulate(random, random.between(2, 7), 3, 0.2, 0.25)
        const expected = bruteForce(operations)
        if (expected) good++
        else bad++
        expect(checkHistory(operations).verdict).toBe(expected ? 'linearizable' : 'violation')
      }),
      { numRuns: 3000, seed: 5 },
    )
    expect(good).toBeGreaterThan(300)
    expect(bad).toBeGreaterThan(300)
  })

  it('shows windows that are themselves contradictions', () => {
    let shown = 0
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const { operations } = simulate(new Prng(seed), 60, 3, 0.1, 0.03)
        const verdict = checkHistory(operations)
        if (verdict.verdict !== 'violation' || verdict.window.length > 6) return
        shown++
        const firsts = new Set<RegisterValue>([null])
        if (!verdict.window.includes(operations[0] as Operation)) {
          firsts.add('none')
          for (const step of verdict.window) firsts.add(step.output).add(step.expected)
        }
        for (const first of firsts) expect(bruteForce(verdict.window, first)).toBe(false)
      }),
      { numRuns: 1000, seed: 6 },
    )
    expect(shown).toBeGreaterThan(150)
  })
})

/** A register with random clients; answers are wrong with `lieChance`, lost with `lossChance`. */
function simulate(
  random: Prng,
  count: number,
  clients: number,
  lossChance: number,
  lieChance: number,
): History {
  let now = 0
  const history = new History(() => now++)
  let register: RegisterValue = null
  const busy = new Map<number, { operation: Operation; effect: (() => void) | null }>()
  const values = ['a', 'b', 'c', 'd']
  const finish = (client: number): void => {
    const { operation, effect } = busy.get(client) as {
      operation: Operation
      effect: (() => void) | null
    }
    busy.delete(client)
    if (random.chance(lossChance)) return
    effect?.()
    const lies = random.chance(lieChance)
    if (operation.kind === 'read') {
      history.returnRead(operation, lies ? random.pick(values) : operation.output)
    } else if (operation.kind === 'write') history.returnWrite(operation)
    else history.returnCas(operation, lies ? !operation.swapped : operation.swapped)
  }
  for (let made = 0; made < count; ) {
    const client = random.below(clients)
    const doing = busy.get(client)
    if (doing === undefined) {
      const kind = random.pick(['read', 'write', 'cas'] as const)
      const operation = history.invoke(
        client,
        'x',
        kind,
        kind === 'read' ? null : random.pick(values),
        kind === 'cas' ? random.pick(values) : null,
      )
      made++
      busy.set(client, {
        operation,
        effect: () => {
          if (kind === 'read') operation.output = register
          else if (kind === 'write') register = operation.value
          else {
            operation.swapped = register === operation.expected
            if (operation.swapped) register = operation.value
          }
        },
      })
    } else if (doing.effect !== null && random.chance(0.5)) {
      doing.effect()
      doing.effect = null
    } else finish(client)
  }
  for (const client of [...busy.keys()]) if (random.chance(0.7)) finish(client)
  return history
}

/** Every order of every choice of the open operations. */
function bruteForce(operations: readonly Operation[], first: RegisterValue = null): boolean {
  const place = (left: readonly Operation[], value: RegisterValue): boolean => {
    if (left.every((step) => step.returned === Number.POSITIVE_INFINITY)) return true
    const firstReturn = Math.min(...left.map((step) => step.returned))
    return left.some((step) => {
      if (step.invoked > firstReturn) return false
      const rest = left.filter((other) => other !== step)
      const open = step.returned === Number.POSITIVE_INFINITY
      if (step.kind === 'write') return place(rest, step.value)
      if (step.kind === 'read') return (open || step.output === value) && place(rest, value)
      const swaps = value === step.expected
      if (!open && step.swapped !== swaps) return false
      return place(rest, swaps ? step.value : value)
    })
  }
  return place(operations, first)
}
