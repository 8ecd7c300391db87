import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERRORS } from '../src/base/errors.ts'
import { COUNTERS, EVENTS, GAUGES, HISTOGRAMS } from '../src/observe/catalogue.ts'
import { filesUnder, ROOT, type SourceFile } from './sources.ts'

const SOURCES = filesUnder('src', '.ts')
const CODE = [...SOURCES, ...['bench', 'test', 'scripts'].flatMap((d) => filesUnder(d, 's'))]
const isTest = (file: SourceFile): boolean => file.path.endsWith('.test.ts')
const linesOf = (file: SourceFile): number => file.text.split('\n').length - 1

function pathsWhere(files: readonly SourceFile[], broken: (file: SourceFile) => boolean): string[] {
  return files.filter(broken).map((file) => file.path)
}

describe('files', () => {
  it('have at most 800 lines, and half of those in src under 150', () => {
    expect(pathsWhere(CODE, (file) => linesOf(file) > 800)).toEqual([])
    const lengths = SOURCES.filter((file) => !isTest(file)).map(linesOf)
    const median = lengths.toSorted((a, b) => a - b)[Math.floor(lengths.length / 2)]
    expect(median).toBeLessThan(150)
  })

  it('in bin/ only put parts together: at most 100 lines', () => {
    const bin = SOURCES.filter((file) => file.path.startsWith('src/bin/'))
    expect(pathsWhere(bin, (file) => linesOf(file) > 100)).toEqual([])
  })

  it('begin with a comment that says what they own, unless they are tests', () => {
    const own = SOURCES.filter((file) => !isTest(file))
    expect(pathsWhere(own, (file) => !/^(#!.*\n)?(\/\/|\/\*\*)/.test(file.text))).toEqual([])
  })

  it('have no marks of unfinished work and no test switched on alone', () => {
    const marks = new RegExp(
      `\\b(${['TO', 'FIX'].map((w) => w + (w === 'TO' ? 'DO' : 'ME')).join('|')})\\b`,
    )
    const alone = new RegExp(`\\b(it|test|describe)\\.${'only'}\\b`)
    expect(pathsWhere(CODE, (file) => marks.test(file.text))).toEqual([])
    expect(pathsWhere(CODE, (file) => alone.test(file.text))).toEqual([])
  })
})

describe('names', () => {
  const text = SOURCES.filter((file) => !isTest(file) && !/(catalogue|errors)\.ts$/.test(file.path))
    .map((file) => file.text)
    .join('\n')
  const unused = (table: object): string[] =>
    Object.keys(table).filter((name) => !text.includes(`'${name}'`))

  it('of the catalogue are all used somewhere', () => {
    expect({
      events: unused(EVENTS),
      counters: unused(COUNTERS),
      histograms: unused(HISTOGRAMS),
      gauges: unused(GAUGES),
    }).toEqual({ events: [], counters: [], histograms: [], gauges: [] })
  })

  it('of settings are all used outside of their table', () => {
    const production = SOURCES.filter((file) => !isTest(file))
    const idle: string[] = []
    for (const table of production) {
      const names = table.text.matchAll(/^ {2}(\w+): (?:bytes|count|duration|text)Setting\(/gm)
      for (const [, name] of names) {
        const used = new RegExp(`\\b${name}\\b`)
        if (!production.some((file) => file !== table && used.test(file.text))) {
          idle.push(`${table.path}: ${name}`)
        }
      }
    }
    expect(idle).toEqual([])
  })

  it('of errors are all used somewhere', () => {
    // asLemnisError() and errorCodeOfWire() give INTERNAL for what nobody foresaw.
    expect(unused(ERRORS).filter((code) => code !== 'INTERNAL')).toEqual([])
  })
})

describe('documents', () => {
  const documents = [
    ...filesUnder('docs', '.md'),
    ...readdirSync(ROOT)
      .filter((name) => name.endsWith('.md'))
      .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') })),
  ]

  it('have a README of at most 120 lines', () => {
    const readme = documents.find((file) => file.path === 'README.md')
    expect(readme).toBeDefined()
    expect(linesOf(readme as SourceFile)).toBeLessThanOrEqual(120)
  })

  it('number their decisions from 0001 without a gap', () => {
    const decisions = documents.filter((file) => file.path.startsWith('docs/adr/'))
    decisions.forEach((file, i) => {
      const number = String(i + 1).padStart(4, '0')
      expect(file.path).toMatch(new RegExp(`^docs/adr/${number}-[a-z0-9-]+\\.md$`))
      expect(file.text).toMatch(new RegExp(`^# ${number} \\S`))
    })
    expect(decisions.length).toBeGreaterThan(0)
  })

  it('list no limit under a name that is gone', () => {
    const limits = documents.find((file) => file.path === 'docs/LIMITS.md')?.text ?? ''
    const names = Array.from(limits.matchAll(/`([a-z]+[A-Z]\w*)`/g), (match) => match[1] as string)
    expect(names.length).toBeGreaterThan(10)
    const text = SOURCES.map((file) => file.text).join('\n')
    expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([])
  })

  it('link only to files that are there', () => {
    const broken: string[] = []
    for (const { path, text } of documents) {
      for (const [, target] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        if (target === undefined || /^[a-z]+:/.test(target)) continue
        if (!existsSync(join(ROOT, dirname(path), target))) broken.push(`${path}: ${target}`)
      }
    }
    expect(broken).toEqual([])
  })
})
