// Owns the list of the project's files that the tests of layers and house rules look at.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '..')

export interface SourceFile {
  /** From the project's root, with slashes. */
  readonly path: string
  readonly text: string
}

/** Files under `directory` whose name ends with `ending`, sorted; none when it is not there. */
export function filesUnder(directory: string, ending: string): SourceFile[] {
  const found: SourceFile[] = []
  for (const entry of readdirSync(join(ROOT, directory), {
    withFileTypes: true,
    recursive: true,
  })) {
    if (!entry.isFile() || !entry.name.endsWith(ending)) continue
    const full = join(entry.parentPath, entry.name)
    found.push({ path: full.slice(ROOT.length + 1), text: readFileSync(full, 'utf8') })
  }
  return found.toSorted((a, b) => (a.path < b.path ? -1 : 1))
}
