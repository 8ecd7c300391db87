#!/usr/bin/env node
// Compares the ways in which one Node process can write aligned blocks to an O_DIRECT|O_DSYNC file:
// fs.write in libuv's pool, fs.writeSync on a worker thread (woken by Atomics, answering by
// Atomics.waitAsync or by a message), and fs.writeSync on the main thread. Also with two writes in
// flight. fio runs beside them in the same rounds. The figures are in docs/adr/0005.
//   node bench/lab/log-writes.mjs [directory] [seconds] [rounds]
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

const directory = fs.mkdtempSync(join(process.argv[2] ?? tmpdir(), 'log-writes-'))
const seconds = Number(process.argv[3] ?? 2)
const rounds = Number(process.argv[4] ?? 5)
const path = join(directory, 'file')
const FILE_BYTES = 64 << 20
const { O_RDWR, O_DIRECT, O_DSYNC } = fs.constants
const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true })

fs.writeFileSync(path, Buffer.alloc(FILE_BYTES))
const fd = fs.openSync(path, O_RDWR | O_DIRECT | O_DSYNC)
fs.fsyncSync(fd)

const WORKER = `
const { workerData, parentPort } = require('node:worker_threads')
const fs = require('node:fs')
const { control, memory, fd, reply } = workerData
const c = new Int32Array(control)
let seen = 0
for (;;) {
  Atomics.wait(c, 0, seen)
  seen = Atomics.load(c, 0)
  if (c[4] === 1) break
  fs.writeSync(fd, new Uint8Array(memory.buffer, 0, c[2]), 0, c[2], c[3] * 4096)
  if (reply === 'message') parentPort.postMessage(0)
  else { Atomics.store(c, 1, seen); Atomics.notify(c, 1) }
}`

function pool() {
  return {
    write: (bytes, at, done) =>
      fs.write(fd, new Uint8Array(memory.buffer, 0, bytes), 0, bytes, at, done),
    close() {},
  }
}

function main() {
  return {
    write(bytes, at, done) {
      fs.writeSync(fd, new Uint8Array(memory.buffer, 0, bytes), 0, bytes, at)
      setImmediate(done)
    },
    close() {},
  }
}

function thread(reply) {
  const control = new SharedArrayBuffer(64)
  const c = new Int32Array(control)
  const worker = new Worker(WORKER, { eval: true, workerData: { control, memory, fd, reply } })
  let waiting
  worker.on('message', () => waiting())
  return {
    write(bytes, at, done) {
      c[2] = bytes
      c[3] = at / 4096
      waiting = done
      const next = Atomics.add(c, 0, 1) + 1
      Atomics.notify(c, 0)
      if (reply === 'message') return
      const answer = Atomics.waitAsync(c, 1, next - 1)
      if (answer.async) answer.value.then(done)
      else setImmediate(done)
    },
    async close() {
      c[4] = 1
      Atomics.add(c, 0, 1)
      Atomics.notify(c, 0)
      await new Promise((resolve) => worker.once('exit', resolve))
    },
  }
}

async function measure(writer, bytes, depth) {
  let at = 0
  let count = 0
  const latencies = []
  const end = performance.now() + seconds * 1000
  const cpu = process.cpuUsage()
  const started = performance.now()
  await new Promise((resolve) => {
    let running = depth
    const one = () => {
      const from = performance.now()
      if (from >= end) {
        if (--running === 0) resolve()
        return
      }
      const place = at
      at = at + 2 * bytes > FILE_BYTES ? 0 : at + bytes
      writer.write(bytes, place, () => {
        count++
        latencies.push(performance.now() - from)
        one()
      })
    }
    for (let i = 0; i < depth; i++) one()
  })
  const elapsed = (performance.now() - started) / 1000
  const used = process.cpuUsage(cpu)
  latencies.sort((a, b) => a - b)
  return {
    perSecond: count / elapsed,
    p50: latencies[count >> 1] * 1000,
    p99: latencies[Math.floor(count * 0.99)] * 1000,
    cpu: (used.user + used.system) / count,
  }
}

function fio(bytes) {
  const out = execFileSync('fio', [
    '--name=x',
    `--filename=${path}`,
    `--size=${FILE_BYTES}`,
    '--rw=write',
    `--bs=${bytes}`,
    '--ioengine=psync',
    '--direct=1',
    '--sync=dsync',
    '--time_based',
    `--runtime=${seconds}`,
    '--output-format=json',
  ])
  const write = JSON.parse(out).jobs[0].write
  return {
    perSecond: write.iops,
    p50: write.clat_ns.percentile['50.000000'] / 1000,
    p99: write.clat_ns.percentile['99.000000'] / 1000,
    cpu:
      ((JSON.parse(out).jobs[0].usr_cpu + JSON.parse(out).jobs[0].sys_cpu) * 10_000) / write.iops,
  }
}

const CASES = [
  ['fio psync', (bytes) => fio(bytes)],
  ['fs.write, pool, 1 in flight', (bytes) => measured(pool, bytes, 1)],
  ['fs.write, pool, 2 in flight', (bytes) => measured(pool, bytes, 2)],
  ['fs.write, pool, 4 in flight', (bytes) => measured(pool, bytes, 4)],
  ['worker, Atomics.waitAsync', (bytes) => measured(() => thread('atomics'), bytes, 1)],
  ['worker, message', (bytes) => measured(() => thread('message'), bytes, 1)],
  ['fs.writeSync on main', (bytes) => measured(main, bytes, 1)],
]

async function measured(make, bytes, depth) {
  const writer = make()
  const result = await measure(writer, bytes, depth)
  await writer.close()
  return result
}

const results = new Map()
for (let round = 0; round < rounds; round++) {
  for (const bytes of [4096, 65536]) {
    for (const [name, run] of CASES) {
      const key = `${name} | ${bytes}`
      const list = results.get(key) ?? []
      list.push(await run(bytes))
      results.set(key, list)
    }
  }
}
const median = (list, pick) => list.map(pick).sort((a, b) => a - b)[list.length >> 1]
console.log('| writer | bytes | writes/s | p50 us | p99 us | CPU us per write |')
console.log('|---|---:|---:|---:|---:|---:|')
for (const [key, list] of results) {
  const figures = [(r) => r.perSecond, (r) => r.p50, (r) => r.p99, (r) => r.cpu]
  console.log(`| ${key} | ${figures.map((pick) => Math.round(median(list, pick))).join(' | ')} |`)
}
fs.closeSync(fd)
fs.rmSync(directory, { recursive: true })
