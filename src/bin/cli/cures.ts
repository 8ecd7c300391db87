// Owns what helps against an error of the cluster, where its detail says more than the table of errors.

import { ERRORS, type ErrorCode, type ErrorDetail } from '../../base/errors.ts'

/** Where the names are, by what was looked for. */
const LISTS: Readonly<Record<string, string>> = {
  operator: 'lemnis operator list --all',
  chunkserver: 'lemnis chunkserver list',
  server: 'lemnis server list',
  copyset: 'lemnis copyset list',
  pool: 'lemnis pool list',
}

/** Empty where the detail has said it all. */
export function cureOf(code: ErrorCode, detail: ErrorDetail): string {
  const found = Object.keys(LISTS).find((what) => detail[what] !== undefined)
  if (code === 'NOT_FOUND' && found !== undefined) return `See \`${LISTS[found]}\``
  // What stands in the way is the reason, with what removes it.
  return code === 'CONFLICT' && detail['reason'] !== undefined ? '' : ERRORS[code].cure
}
