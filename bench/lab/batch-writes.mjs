#!/usr/bin/env node
// Compares the ways in which many random 4 KiB pieces get into the page cache of a file: fs.write in
// libuv's pool, fs.writeSync on the main thread, and Disk.writeAll. First as fast as they can, then
// paced, as a server does it beside other work: so many pieces every few milliseconds. Counts the CPU
// of all threads, the paced ways' less that of a timer alone. Needs `npm run build`.
// The figures are in docs/adr/0011.
//   node bench/lab/batch-writes.mjs [directory] [seconds] [rounds]
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NodeDisk } from '../../dist/src/platform/disk.js'

const directory = fs.mkdtempSync(join(process.argv[2] ?? tmpdir(), 'batch-writes-'))
const seconds = Number(process.argv[3] ?? 1)
const rounds = Number(process.argv[4] ?? 5)
const FILE_BYTES = 256 << 20
const BLOCKS = FILE_BYTES / 4096
const from = Buffer.alloc(4096, 7)

fs.writeFileSync(join(directory, 'file'), Buffer.alloc(FILE_BYTES))
const fd = fs.openSync(join(directory, 'file'), 'r+')
const disk = new NodeDisk(directory)
const file = await disk.open('file')

let state = 1
/** A block's place; the same sequence for everybody (a linear congruential generator). */
function nextAt() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return (state % BLOCKS) * 4096
}

async function pool(untilMs) {
  let pieces = 0
  const one = () => new Promise((resolve) => fs.write(fd, from, 0, 4096, nextAt(), () => resolve()))
  const chain = async () => {
    while (performance.now() < untilMs) {
      await one()
      pieces++
    }
  }
  await Promise.all(Array.from({ length: 32 }, chain))
  return { pieces }
}

async function main(untilMs) {
  let pieces = 0
  while (performance.now() < untilMs) {
    for (let i = 0; i < 64; i++) fs.writeSync(fd, from, 0, 4096, nextAt())
    pieces += 64
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { pieces }
}

const batches = (count, atOnce) => async (untilMs) => {
  let pieces = 0
  const chain = async () => {
    while (performance.now() < untilMs) {
      await disk.writeAll(Array.from({ length: count }, () => ({ file, at: nextAt(), from })))
      pieces += count
    }
  }
  await Promise.all(Array.from({ length: atOnce }, chain))
  return { pieces }
}

const paced = (count, gapMs, write) => async (untilMs) => {
  let pieces = 0
  let under = 0
  while (performance.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, gapMs))
    pieces += count
    under++
    write(count, () => under--)
  }
  while (under > 0) await new Promise((resolve) => setImmediate(resolve))
  return { pieces }
}

function byPool(count, done) {
  let left = count
  const one = () => {
    if (--left === 0) done()
  }
  for (let i = 0; i < count; i++) fs.write(fd, from, 0, 4096, nextAt(), one)
}

function byBatch(count, done) {
  void disk.writeAll(Array.from({ length: count }, () => ({ file, at: nextAt(), from }))).then(done)
}

const ways = {
  'fs.write, 32 at once': pool,
  'fs.writeSync on the main thread': main,
  'writeAll of 64': batches(64, 1),
  'writeAll of 256': batches(256, 1),
  'writeAll of 256, 2 at once': batches(256, 2),
  'writeAll of 1024, 2 at once': batches(1024, 2),
}
for (const [count, gapMs] of [
  [1, 1],
  [8, 1],
  [32, 2],
  [256, 10],
]) {
  const name = `${count} every ${gapMs} ms`
  ways[`timer, ${name}`] = paced(count, gapMs, (_, done) => done())
  ways[`fs.write, ${name}`] = paced(count, gapMs, byPool)
  ways[`writeAll, ${name}`] = paced(count, gapMs, byBatch)
}

const figures = new Map(Object.keys(ways).map((name) => [name, []]))
for (let round = 0; round < rounds; round++) {
  for (const [name, way] of Object.entries(ways)) {
    const cpu = process.cpuUsage()
    const beganMs = performance.now()
    const loop = performance.eventLoopUtilization()
    const { pieces } = await way(beganMs + seconds * 1000)
    const tookMs = performance.now() - beganMs
    const { user, system } = process.cpuUsage(cpu)
    const busy = performance.eventLoopUtilization(loop).utilization
    figures.get(name).push({
      perSecond: (pieces / tookMs) * 1000,
      cpuUs: (user + system) / pieces,
      mainUs: (busy * tookMs * 1000) / pieces,
    })
    // Writing back what is dirty is nobody's time.
    fs.fsyncSync(fd)
  }
}
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
const row = (name, ...rest) => console.log(name.padEnd(34), ...rest.map((v) => v.padStart(14)))
row('way (medians)', 'pieces/s', 'CPU us each', 'main us each')
let timer = { cpuUs: 0, mainUs: 0 }
for (const [name, all] of figures) {
  const own = (key) => median(all.map((one) => one[key]))
  if (name.startsWith('timer')) {
    timer = { cpuUs: own('cpuUs'), mainUs: own('mainUs') }
    continue
  }
  const of = (key) => own(key) - (timer[key] ?? 0)
  row(name, of('perSecond').toFixed(0), of('cpuUs').toFixed(1), of('mainUs').toFixed(1))
}
await file.close()
await disk.close()
fs.closeSync(fd)
fs.rmSync(directory, { recursive: true })
