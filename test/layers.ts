// Owns the order of the folders under src: a folder imports only folders of lower levels, never a
// sibling of its own level, and only platform/ and bin/ import packages.
// Tests and testing/ folders stand outside: they may import everything up to platform/ and sim/.

import { dirname, join } from 'node:path/posix'
import type { SourceFile } from './sources.ts'

const LEVELS: readonly (readonly string[])[] = [
  ['base'],
  ['env'],
  ['observe', 'format'],
  ['raft', 'placement', 'namespace', 'fsmeta', 'binlog'],
  ['raftlog', 'chunkstore', 'rpc'],
  ['copyset', 'client'],
  [
    'chunkserver',
    'mds',
    'metaserver',
    'snapshot',
    'attach',
    'fuse',
    'console',
    'agent',
    'mysqlrepl',
  ],
  ['platform', 'sim'],
  ['bin'],
]
const LEVEL_OF = new Map(
  LEVELS.flatMap((folders, level) => folders.map((f) => [f, level] as const)),
)
const WITH_PACKAGES: ReadonlySet<string> = new Set(['platform', 'bin'])
/** What the simulator needs of Node to let promises run dry; nothing that does I/O. */
const SIM_PACKAGES: ReadonlySet<string> = new Set(['node:process'])

const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)['"]([^'"\n]+)['"]/g

export function importsOf(text: string): string[] {
  return Array.from(text.matchAll(SPECIFIER), (match) => match[1] as string)
}

/** One sentence for each import that breaks the order, and for each folder that has no level. */
export function layerViolations(files: readonly SourceFile[]): string[] {
  const found: string[] = []
  for (const file of files) {
    const folder = folderOf(file.path)
    if (folder === null) continue
    if (!LEVEL_OF.has(folder)) {
      found.push(`${file.path}: src/${folder} has no level in test/layers.ts`)
      continue
    }
    for (const specifier of importsOf(file.text)) {
      const reason = judge(file.path, folder, specifier)
      if (reason !== null) found.push(`${file.path}: imports ${specifier}: ${reason}`)
    }
  }
  return found
}

/** `src/raft/node.ts` → `raft`; null for files directly in src, which have no layer. */
function folderOf(path: string): string | null {
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? null
}

function judge(path: string, folder: string, specifier: string): string | null {
  const isTest = path.endsWith('.test.ts')
  const isTesting = path.includes('/testing/')
  if (!specifier.startsWith('.')) {
    if (isTest || WITH_PACKAGES.has(folder)) return null
    if (folder === 'sim' && SIM_PACKAGES.has(specifier)) return null
    return 'only platform/ and bin/ import packages'
  }
  const target = join(dirname(path), specifier)
  const targetFolder = folderOf(target)
  if (targetFolder === null) {
    return isTest || isTesting ? null : 'outside of the folders of src'
  }
  if (target.includes('/testing/') && !isTest && !isTesting && folder !== 'sim') {
    return 'testing/ is for tests and the simulator'
  }
  if (targetFolder === folder) return null
  const targetLevel = LEVEL_OF.get(targetFolder)
  if (targetLevel === undefined) return `src/${targetFolder} has no level in test/layers.ts`
  if (isTest || isTesting) return targetFolder === 'bin' ? 'bin/ is above the tests' : null
  const level = LEVEL_OF.get(folder) as number
  if (targetLevel === level) return `${targetFolder} is a sibling of ${folder}`
  return targetLevel > level ? `${targetFolder} is above ${folder}` : null
}
