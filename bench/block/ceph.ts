// Owns a throw-away Ceph on this machine to compare with: one monitor, three OSDs on files of the same
// disk, one pool of three replicas, one RBD image. Set up as a fair user would: no authentication, debug
// levels off, the client's write-back cache off, so that an acknowledged write is on three replicas.

import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { FioTarget } from './fio.ts'

const execute = promisify(execFile)
const OSD_COUNT = 3
const OSD_GIB = 6
const IMAGE = 'image'
const POOL = 'bench'
const SUBSYSTEMS = (
  'ms osd bluestore bluefs bdev rocksdb mon paxos auth filestore journal objecter rbd rados client ' +
  'monc tp throttle finisher timer perfcounter optracker asok buffer heartbeatmap lockdep context crush'
).split(' ')
const AS_ROOT = ['--setuser', 'root', '--setgroup', 'root']

export class CephBench {
  readonly #directory: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(directory: string) {
    this.#directory = directory
    const conf = `${directory}/ceph.conf`
    this.#env = { ...process.env, CEPH_CONF: conf, CEPH_ARGS: `--conf ${conf}` }
  }

  static async isInstalled(): Promise<boolean> {
    try {
      for (const program of ['ceph-mon', 'ceph-osd', 'ceph', 'rbd', 'monmaptool']) {
        await execute('sh', ['-c', `command -v ${program}`])
      }
      return true
    } catch {
      return false
    }
  }

  /** `directory` is made, needs about 20 GiB, and goes away at stop(). */
  static async start(directory: string, imageMib: number): Promise<CephBench> {
    const ceph = new CephBench(directory)
    try {
      await ceph.#start(imageMib)
      return ceph
    } catch (error) {
      await ceph.stop()
      throw error
    }
  }

  get target(): FioTarget {
    return ['--ioengine=rbd', '--clientname=admin', `--pool=${POOL}`, `--rbdname=${IMAGE}`]
  }

  /** fio finds the cluster by the environment. */
  useHere(): void {
    Object.assign(process.env, {
      CEPH_CONF: this.#env['CEPH_CONF'],
      CEPH_ARGS: this.#env['CEPH_ARGS'],
    })
  }

  pids(): number[] {
    return ['mon.a', ...osdNames()].flatMap((name) => {
      try {
        return [Number(readFileSync(`${this.#directory}/run/${name}.pid`, 'utf8'))]
      } catch {
        return []
      }
    })
  }

  async stop(): Promise<void> {
    const pids = this.pids()
    for (const pid of pids) kill(pid, 'SIGTERM')
    for (let i = 0; i < 300 && pids.some(isAlive); i++) await pause(100)
    for (const pid of pids) kill(pid, 'SIGKILL')
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async #start(imageMib: number): Promise<void> {
    const root = this.#directory
    for (const name of ['run', 'log', 'crash', 'mon.a']) {
      mkdirSync(`${root}/${name}`, { recursive: true })
    }
    const fsid = crypto.randomUUID()
    writeFileSync(`${root}/ceph.conf`, configOf(root, fsid))
    const addresses = '[v2:127.0.0.1:3300,v1:127.0.0.1:6789]'
    await this.#run('monmaptool', [
      '--create',
      '--fsid',
      fsid,
      '--addv',
      'a',
      addresses,
      `${root}/monmap`,
    ])
    await this.#run('ceph-mon', ['-i', 'a', '--mkfs', '--monmap', `${root}/monmap`, ...AS_ROOT])
    await this.#run('ceph-mon', ['-i', 'a', ...AS_ROOT])
    await this.#until(() => this.#run('timeout', ['5', 'ceph', '-s']))
    for (let id = 0; id < OSD_COUNT; id++) await this.#startOsd(id)
    await this.#until(async () => {
      const up = await this.#run('ceph', ['osd', 'stat'])
      if (!up.includes(`${OSD_COUNT} up`)) throw new Error(`OSDs are not up: ${up}`)
    })
    await this.#run('ceph', ['osd', 'pool', 'create', POOL, '32', '32', 'replicated'])
    await this.#run('ceph', ['osd', 'pool', 'set', POOL, 'size', '3'])
    await this.#run('ceph', ['osd', 'pool', 'set', POOL, 'min_size', '2'])
    await this.#run('ceph', ['osd', 'pool', 'application', 'enable', POOL, 'rbd'])
    await this.#run('rbd', ['create', '--pool', POOL, '--size', `${imageMib}M`, IMAGE])
  }

  async #startOsd(id: number): Promise<void> {
    const data = `${this.#directory}/osd.${id}`
    mkdirSync(data)
    const uuid = crypto.randomUUID()
    // Written in full, as a real disk is: a sparse file would charge Ceph for the file system's work.
    const blocks = `count=${OSD_GIB * 256}`
    await this.#run('dd', [
      'if=/dev/zero',
      `of=${data}/block`,
      'bs=4M',
      blocks,
      'oflag=direct',
      'conv=fsync',
    ])
    await this.#run('ceph', ['osd', 'new', uuid])
    await this.#run('ceph-osd', ['-i', `${id}`, '--mkfs', '--osd-uuid', uuid, ...AS_ROOT])
    await this.#run('ceph-osd', ['-i', `${id}`, ...AS_ROOT])
  }

  async #run(program: string, given: readonly string[]): Promise<string> {
    return (await execute(program, [...given], { env: this.#env })).stdout
  }

  async #until(holds: () => Promise<unknown>): Promise<void> {
    for (let i = 0; ; i++) {
      try {
        await holds()
        return
      } catch (error) {
        if (i === 60) throw error
        await pause(1000)
      }
    }
  }
}

function osdNames(): string[] {
  return Array.from({ length: OSD_COUNT }, (_, id) => `osd.${id}`)
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended.
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function configOf(root: string, fsid: string): string {
  const debug = SUBSYSTEMS.map((name) => `debug_${name} = 0/0`).join('\n')
  return `[global]
fsid = ${fsid}
mon_host = [v2:127.0.0.1:3300/0,v1:127.0.0.1:6789/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = ${root}/run
pid_file = ${root}/run/$type.$id.pid
admin_socket = ${root}/run/$cluster-$name.$pid.asok
log_file = ${root}/log/$name.log
crash_dir = ${root}/crash
osd_pool_default_size = 3
osd_pool_default_min_size = 2
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
${debug}
[mon]
mon_data = ${root}/$name
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_warn_on_pool_no_redundancy = false
auth_allow_insecure_global_id_reclaim = false
[osd]
osd_data = ${root}/$name
osd_objectstore = bluestore
osd_memory_target = ${2 * 1024 ** 3}
bluestore_block_size = ${OSD_GIB * 1024 ** 3}
bluestore_block_create = true
[client]
rbd_cache = false
`
}
