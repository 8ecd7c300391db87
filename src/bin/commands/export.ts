// Owns `lemnis export targets`: where Prometheus finds the metrics of every role, in the form of its
// file_sd_configs (https://prometheus.io/docs/prometheus/latest/configuration/configuration/).

import { renameSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { STATUS } from '../../format/control/mds.ts'
import { askJson } from '../cli/http.ts'
import { asking, declare, family } from '../cli/program.ts'
import { askMds, type HttpRole, httpRoles } from '../cli/roles.ts'
import type { Session } from '../cli/session.ts'
import { counted } from '../cli/words.ts'
import type { MetastoreFacts } from '../roles/metastore-look.ts'

interface Target {
  readonly targets: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

interface TargetOptions {
  readonly out?: string
  readonly add: readonly HttpRole[]
}

function targetOf({ role, name, http, labels }: HttpRole, cluster: string): Target {
  return { targets: [http], labels: { cluster, role, name, ...labels } }
}

async function targets(session: Session, { out, add }: TargetOptions): Promise<void> {
  const { clusterId } = await session.ask(STATUS, {})
  const known = [...(await httpRoles(session)), ...(await etcdRoles(session))]
  const others = add.filter(({ http }) => known.every((one) => one.http !== http))
  const all = [...known, ...others].map((one) => targetOf(one, clusterId))
  const text = `${JSON.stringify(all, null, 2)}\n`
  if (out === undefined) {
    session.io.result(all, () => text.trimEnd())
    return
  }
  // Prometheus reads the file whenever it changes: it never sees a half of one.
  const path = resolve(out)
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
  session.io.result(
    { out: path, targets: all.length },
    () => `${counted(all.length, 'target')} in ${path}.`,
  )
}

/** Members of etcd serve their metrics where they serve clients; the MDS knows where. */
async function etcdRoles(session: Session): Promise<HttpRole[]> {
  const mds = await askMds(session)
  const http = mds?.leader?.httpAddress
  if (mds?.store !== 'etcd' || http === undefined) return []
  const facts = await askJson<MetastoreFacts>(http, '/debug/metastore')
  const members = facts.store === 'etcd' ? facts.members : []
  return members.map(({ endpoint }) => ({
    role: 'etcd',
    name: `etcd ${endpoint}`,
    http: endpoint,
    labels: {},
  }))
}

/** `nbd=10.0.0.7:7490`. */
function addArgument(text: string, all: readonly HttpRole[]): HttpRole[] {
  const [, role, http] = /^([\w-]+)=(\S+:\d+)$/.exec(text) ?? []
  if (role === undefined || http === undefined) {
    throw new InvalidArgumentError('It takes a role and its HTTP port, such as nbd=10.0.0.7:7490.')
  }
  return [...all, { role, name: `${role} ${http}`, http, labels: {} }]
}

export function addExportCommands(program: Command): void {
  const exports = family(program, 'export', 'facts for other programs')
  declare(
    exports,
    'targets',
    'the HTTP ports of all roles, for the file_sd_configs of Prometheus',
    'export targets --out /etc/prometheus/lemnis.json',
  )
    .option('--out <file>', 'into this file, replaced at once, instead of standard output')
    .option(
      '--add <role=address>',
      'one that the MDS does not know, as an NBD server that nobody uses; may be repeated',
      addArgument,
      [],
    )
    .action(asking(targets))
}
