// Runs the text scripts; REWRITE=1 writes the traces as they are now, to be read as a diff.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ScriptGroup } from './testing/group.ts'
import { isComment, parseScript, runCase, writeScript } from './testing/script.ts'

const directory = join(import.meta.dirname, '../../test/scripts/raft')
const rewrite = process.env['REWRITE'] === '1'

describe('raft scripts', () => {
  for (const name of readdirSync(directory).sort()) {
    it(name, () => {
      const path = join(directory, name)
      const group = new ScriptGroup()
      const actual = parseScript(readFileSync(path, 'utf8')).map((block) =>
        isComment(block) ? block : { ...block, expected: runCase(group, block.input) },
      )
      if (rewrite) writeFileSync(path, writeScript(actual))
      expect(writeScript(actual)).toBe(readFileSync(path, 'utf8'))
    })
  }
})
