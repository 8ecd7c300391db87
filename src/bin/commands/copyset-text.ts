// Owns how the outcome of a check is shown to people.

import type { Sight } from '../cli/compare.ts'
import type { Io } from '../cli/io.ts'
import { counted } from '../cli/words.ts'
import type { CheckResult, Finding } from './copyset-check.ts'

/** Anything but equal, or repaired, replicas: also what could not be compared is not proven equal. */
export function isWrong(results: readonly CheckResult[]): boolean {
  return results.some(
    ({ findings, unreachable }) =>
      unreachable.length > 0 || findings.some(({ verdict }) => verdict !== 'repaired'),
  )
}

function sightText({ chunkserver, chunk }: Sight): string {
  if (chunk === null) return `${chunkserver}: no such chunk`
  const digest = chunk.digest.toString(16)
  const bad = chunk.badBlocks > 0 ? `, ${counted(chunk.badBlocks, 'bad block')}` : ''
  return `${chunkserver}: version ${chunk.version} digest ${digest}${bad}`
}

const SAYS: Readonly<Record<Finding['verdict'], string>> = {
  bad: 'bad blocks',
  unequal: 'differs',
  changing: 'written all the time',
  repaired: 'repaired',
}

export function checkText(io: Io, results: readonly CheckResult[]): string {
  const findings = results.flatMap((result) => result.findings)
  const lines: string[] = []
  if (findings.length > 0) {
    const rows = findings.map(({ copyset, chunk, verdict, sights }) => [
      String(copyset),
      String(chunk),
      io.paint(verdict === 'repaired' ? 'green' : 'red', SAYS[verdict]),
      sights.map(sightText).join('; '),
    ])
    lines.push(io.table(['COPYSET', 'CHUNK', 'FOUND', 'ON CHUNKSERVER'], rows), '')
  }
  for (const { copyset, unreachable } of results) {
    for (const { chunkserver, why } of unreachable) {
      lines.push(`Copyset ${copyset}: chunkserver ${chunkserver} could not be asked (${why}).`)
    }
  }
  const chunks = results.reduce((sum, result) => sum + result.chunks, 0)
  const what = `${counted(results.length, 'copyset')}, ${counted(chunks, 'chunk')}`
  if (!isWrong(results)) lines.push(`${what}: ${io.paint('green', 'all replicas are equal')}.`)
  else lines.push(`${what}: ${io.paint('red', 'not all replicas are proven equal')}.`)
  if (findings.some(({ verdict }) => verdict === 'bad' || verdict === 'unequal')) {
    lines.push(
      'Reads are served by the good replicas; `lemnis copyset check --repair` mends the others.',
    )
  }
  return lines.join('\n')
}
