import { describe, expect, it } from 'vitest'
import { COUNTERS, EVENTS, GAUGES, HISTOGRAMS } from './catalogue.ts'

const METRICS = [...Object.keys(COUNTERS), ...Object.keys(HISTOGRAMS), ...Object.keys(GAUGES)]

describe('the catalogue', () => {
  it('has names of lower-case words, none of them twice', () => {
    const names = [...Object.keys(EVENTS), ...METRICS]
    for (const name of names) expect(name).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)+$/)
    expect(new Set(names).size).toBe(names.length)
  })

  it('ends every counter in _total and every histogram in its unit', () => {
    for (const name of Object.keys(COUNTERS)) expect(name).toMatch(/_total$/)
    for (const name of Object.keys(HISTOGRAMS)) {
      expect(name).toMatch(/_(seconds|bytes|entries|records|messages|groups)$/)
    }
  })

  it('has milliseconds nowhere: Prometheus counts seconds', () => {
    for (const name of METRICS) expect(name).not.toMatch(/_(ms|us|millis\w*|micros\w*)(_|$)/)
  })

  it('explains every event and metric in a sentence', () => {
    for (const [name, { says }] of Object.entries(EVENTS)) expect(says, name).toMatch(/^[A-Z].*\.$/)
    for (const table of [COUNTERS, HISTOGRAMS, GAUGES]) {
      for (const [name, { help }] of Object.entries(table)) {
        expect(help, name).toMatch(/^[A-Z].*\.$/)
      }
    }
  })
})
