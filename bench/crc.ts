// Measures CRC32C by tables and by the native module at the sizes of a header, a block and a large
// payload: where one overtakes the other decides which is used (src/platform/crc32c.ts).

import { crc32c as crc32cNative } from '@node-rs/crc32'
import { type Crc32c, crc32cPure } from '../src/base/crc32c.ts'
import { formatBytes, KIB, MIB } from '../src/base/units.ts'
import { nodeCrc32c } from '../src/platform/crc32c.ts'
import { nanosecondsEach } from './measure.ts'
import type { BenchOptions, BenchRow } from './table.ts'

const SIZES = [36, 64, 192, 256, 4 * KIB, MIB]
const KINDS: readonly (readonly [string, Crc32c])[] = [
  ['tables', crc32cPure],
  ['native', crc32cNative],
  ['as used', nodeCrc32c()],
]

export async function run({ seconds }: BenchOptions): Promise<BenchRow[]> {
  const share = seconds / (SIZES.length * KINDS.length)
  const rows: BenchRow[] = []
  for (const size of SIZES) {
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7) & 0xff)
    for (const [kind, crc32c] of KINDS) {
      const value = nanosecondsEach(share, (count) => {
        let crc = 0
        for (let i = 0; i < count; i++) crc = crc32c(bytes, crc)
        return crc
      })
      const note = `${Math.round((size / MIB / value) * 1e9)} MiB/s`
      rows.push({
        bench: 'crc',
        name: `${formatBytes(size)}, ${kind}`,
        metric: 'time',
        value,
        unit: 'ns',
        note,
      })
    }
  }
  return rows
}
