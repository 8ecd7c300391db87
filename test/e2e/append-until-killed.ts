// What src/raftlog/kill.test.ts kills: appends to several groups of a log on the real disk, several
// outstanding, and tells its parent of each one that is durable.
// Usage: node dist/test/e2e/append-until-killed.js ROOT

import { must } from '../../src/base/assert.ts'
import { SILENT } from '../../src/observe/observe.ts'
import { nodeEnv } from '../../src/platform/env.ts'
import { raftLogConfig } from '../../src/raftlog/config.ts'
import { RaftLog } from '../../src/raftlog/raftlog.ts'
import { GROUP_COUNT, KILLED_CONFIG, type Told } from '../../src/raftlog/testing/killed.ts'
import { append, creation, entry, markAt } from '../../src/raftlog/testing/log-rig.ts'

const OUTSTANDING_PER_GROUP = 3

const root = must(process.argv[2], 'a directory')
const log = await RaftLog.open(nodeEnv(root), SILENT, 'log', raftLogConfig(KILLED_CONFIG))
log.onPinned = (group) => {
  const index = log.group(group).lastIndex()
  log.append({ group, mark: markAt(index, 1) }, () => {})
}
const tell = (told: Told): void => {
  process.send?.(told)
}
const appendNext = (group: number): void => {
  const index = log.group(group).lastIndex() + 1
  const entries = [entry(group, index, 1, (index * 977) % 9000)]
  log.append({ group, entries }, (error) => {
    if (error !== null) throw error
    tell({ group, index })
    appendNext(group)
  })
}
for (let group = 1; group <= GROUP_COUNT; group++) {
  if (log.group(group).replica === 0) await append(log, creation(group))
  for (let i = 0; i < OUTSTANDING_PER_GROUP; i++) appendNext(group)
}
