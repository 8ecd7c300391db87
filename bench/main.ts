// `npm run bench -- [names] [--tiny] [--seconds N] [--json FILE]`: runs the benches one after the other
// and prints their figures with the facts of the machine.

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type BenchRow, type BenchRun, machineFacts, renderRows } from './table.ts'

const TINY_SECONDS = 0.2
const DEFAULT_SECONDS = 3

const BENCHES: Readonly<Record<string, () => Promise<{ readonly run: BenchRun }>>> = {
  codecs: () => import('./codecs.ts'),
  crc: () => import('./crc.ts'),
  raftlog: () => import('./raftlog.ts'),
  rpc: () => import('./rpc.ts'),
  replication: () => import('./replication.ts'),
  block: () => import('./block.ts'),
  placement: () => import('./placement.ts'),
  heartbeats: () => import('./heartbeats.ts'),
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      tiny: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      json: { type: 'string' },
    },
  })
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name))
  const seconds = Number(values.seconds ?? (values.tiny ? TINY_SECONDS : DEFAULT_SECONDS))
  if (unknown.length > 0 || !(seconds > 0)) {
    const known = Object.keys(BENCHES).join(' | ')
    console.error(`usage: bench [${known}] [--tiny] [--seconds N] [--json FILE]`)
    process.exitCode = 2
    return
  }
  const machine = machineFacts(process.cwd())
  console.log(
    Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
  )
  const all: BenchRow[] = []
  for (const name of names) {
    const bench = await (BENCHES[name] as () => Promise<{ readonly run: BenchRun }>)()
    const rows = await bench.run({ seconds, tiny: values.tiny })
    console.log(renderRows(rows))
    all.push(...rows)
  }
  if (values.tiny) console.log('tiny: these figures only show that the benches run')
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ machine, rows: all }, null, 2)}\n`)
  }
}

await main()
