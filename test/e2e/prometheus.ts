// Debian's Prometheus beside a cluster: it finds every role in the file of `lemnis export targets`, and what
// it then says of I/O, latency and presence is what was done. Ends with 3 where Prometheus is missing.
// Usage: node dist/test/e2e/prometheus.js

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DevCluster } from '../harness/dev-cluster.ts'
import { freePorts } from '../harness/ports.ts'
import { check, say, until } from '../harness/report.ts'

const UNAVAILABLE = 3
const LIMIT_MS = 60_000
const OP_BYTES = 4096

interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

interface BenchSide {
  readonly ops: number
}

class Prometheus implements AsyncDisposable {
  readonly #child
  readonly #url: string
  #output = ''

  constructor(directory: string, targets: string, port: number) {
    const config = join(directory, 'prometheus.yml')
    writeFileSync(
      config,
      `global: {scrape_interval: 1s}\nscrape_configs:\n` +
        `  - job_name: lemnis\n    file_sd_configs: [{files: ['${targets}']}]\n`,
    )
    this.#url = `127.0.0.1:${port}`
    const words = ['--config.file', config, '--storage.tsdb.path', join(directory, 'tsdb')]
    this.#child = spawn('prometheus', [...words, '--web.listen-address', this.#url])
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
  }

  get output(): string {
    return this.#output
  }

  /** An instant query; nothing while it does not answer. */
  async query(expression: string): Promise<readonly Sample[]> {
    const url = `http://${this.#url}/api/v1/query?query=${encodeURIComponent(expression)}`
    const reply = await fetch(url).catch(() => null)
    if (reply?.ok !== true) return []
    return ((await reply.json()) as { data: { result: readonly Sample[] } }).data.result
  }

  async number(expression: string): Promise<number> {
    const [sample] = await this.query(expression)
    return sample === undefined ? Number.NaN : Number(sample.value[1])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}

async function main(cluster: DevCluster): Promise<void> {
  const directory = join(cluster.directory, 'prometheus')
  mkdirSync(directory)
  const targets = join(directory, 'targets.json')
  await cluster.lemnis('export', 'targets', '--out', targets, '--add', `nbd=${cluster.nbdHttp}`)
  await using prometheus = new Prometheus(directory, targets, await freePorts())
  const up = (): Promise<readonly Sample[]> => prometheus.query('up == 1')
  await until(
    async () => (await up()).length === 5,
    LIMIT_MS,
    () => prometheus.output,
  )
  const roles = (await up()).map(({ metric }) => metric['role'] ?? '').toSorted()
  check(
    roles.join(' ') === 'chunkserver chunkserver chunkserver mds nbd',
    `roles ${roles.join(' ')}`,
  )
  say('all five roles are found by their file and scraped')

  await cluster.lemnis('volume', 'create', 'disk1', '--size', '1GiB')
  const words = ['bench', 'volume', 'disk1', '--rw', 'randwrite', '--time', '5s', '--iodepth', '4']
  const { writes } = await cluster.json<{ writes: BenchSide }>(...words)
  const counted = (name: string): Promise<number> => prometheus.number(`sum(lemnis_${name})`)
  // A request may have been sent again, and counts as often as it was answered.
  const isAbout = (value: number, expected: number): boolean =>
    value >= expected && value <= 1.05 * expected
  await until(
    async () => isAbout(await counted('chunkserver_writes_total'), writes.ops),
    LIMIT_MS,
    () => `the count of ${writes.ops} writes`,
  )
  const bytes = await counted('chunkserver_written_bytes_total')
  check(isAbout(bytes, writes.ops * OP_BYTES), `${bytes} bytes of ${writes.ops} writes`)
  say(`${writes.ops} writes of a client are ${bytes} bytes in Prometheus`)

  const rate = await prometheus.number('sum(rate(lemnis_chunkserver_writes_total[30s]))')
  check(rate > 0, `${rate} writes a second`)
  const buckets = 'sum by (le) (rate(lemnis_chunkserver_write_seconds_bucket[30s]))'
  const p99 = await prometheus.number(`histogram_quantile(0.99, ${buckets})`)
  check(p99 > 0 && p99 < 10, `p99 ${p99} s`)
  const log = await prometheus.number('sum(increase(lemnis_raftlog_bytes_total[30s]))')
  check(log > 0, `${log} bytes of log`)
  say(`${rate.toFixed(0)} writes/s over 30 s, p99 ${(1000 * p99).toFixed(1)} ms`)

  check((await prometheus.number('lemnis_mds_chunkservers_online')) === 3, 'not 3 online')
  cluster.kill('chunkserver-2', 'SIGSTOP')
  const away = 'count(up{role="chunkserver"} == 0)'
  await until(
    async () => (await prometheus.number(away)) === 1,
    LIMIT_MS,
    () => 'one is down',
  )
  const online = (): Promise<number> => prometheus.number('lemnis_mds_chunkservers_online')
  await until(
    async () => (await online()) === 2,
    LIMIT_MS,
    () => 'two are online',
  )
  cluster.kill('chunkserver-2', 'SIGCONT')
  await until(
    async () => (await online()) === 3,
    LIMIT_MS,
    () => 'three are online',
  )
  say('a chunkserver that stands still is seen to be away, and to come back')
}

if (spawnSync('prometheus', ['--version']).error !== undefined) {
  say('skipped: Prometheus is not on this machine')
  process.exit(UNAVAILABLE)
}
const cluster = await DevCluster.start()
try {
  await main(cluster)
} finally {
  await cluster.close()
}
say('Prometheus saw what was done')
