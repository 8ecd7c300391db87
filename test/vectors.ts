// Owns the reading of vector files, # for comments, in either of two forms: `what {fields as JSON} hex`,
// or `name: text` where the test itself knows what the name stands for.

import { readFileSync } from 'node:fs'
import { bytesOfHex } from '../src/base/bytes.ts'

export interface Vector<T> {
  readonly what: string
  readonly fields: T
  readonly bytes: Uint8Array
}

function linesOf(file: string): string[] {
  const text = readFileSync(new URL(`./vectors/${file}`, import.meta.url), 'utf8')
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

/** The vectors of `test/vectors/FILE` of one kind. */
export function vectorsOf<T>(file: string, what: string): Vector<T>[] {
  const vectors: Vector<T>[] = []
  for (const line of linesOf(file)) {
    const match = /^(\S+) (\{.*\}) ([0-9a-f]+)$/.exec(line)
    if (match?.[1] !== what) continue
    const fields = JSON.parse(match[2] as string) as T
    vectors.push({ what, fields, bytes: bytesOfHex(match[3] as string) })
  }
  return vectors
}

/** The texts of `test/vectors/FILE` by name. */
export function readVectors(file: string): Map<string, string> {
  return new Map(
    linesOf(file).flatMap((line): [string, string][] => {
      const match = /^([^\s:]+):(.*)$/.exec(line)
      return match === null ? [] : [[match[1] as string, (match[2] as string).trim()]]
    }),
  )
}
