import { describe, expect, it } from 'vitest'
import { formatValue, machineFacts, renderRows } from './table.ts'

describe('bench tables', () => {
  it('round to three digits and mark thousands', () => {
    expect([0, 0.012_345, 12.345, 999.4, 1234.5, 1_234_567].map(formatValue)).toEqual([
      '0',
      '0.0123',
      '12.3',
      '999',
      '1,235',
      '1,234,567',
    ])
    expect(formatValue(Number.NaN)).toBe('NaN')
  })

  it('show a row with all that it says', () => {
    const row = { bench: 'crc', name: '4 KiB', metric: 'time', value: 786.4, unit: 'ns' }
    const lines = renderRows([{ ...row, note: 'native' }]).split('\n')
    const line = lines.find((text) => text.includes('4 KiB'))
    for (const word of ['bench', 'what', 'value', 'note']) expect(lines[1]).toContain(word)
    for (const word of ['crc', 'time', '786', 'ns', 'native']) expect(line).toContain(word)
  })

  it('name the machine', () => {
    const facts = machineFacts(import.meta.dirname)
    expect(facts['node']).toBe(process.version)
    expect(facts['cpus']).toBeGreaterThan(0)
    expect(facts['fileSystem']).toMatch(/^\w+$/)
  })
})
