// Owns what this program is called and which version it is, both as its package says.

import { readFileSync } from 'node:fs'

interface PackageFile {
  readonly version: string
}

/** This file is dist/src/bin/version.js, or src/bin/version.ts in tests. */
const ROOT = import.meta.url.endsWith('.ts') ? '../..' : '../../..'
const PACKAGE = new URL(`${ROOT}/package.json`, import.meta.url)

export const VERSION = (JSON.parse(readFileSync(PACKAGE, 'utf8')) as PackageFile).version

/** How the person who started this program would call it again: the launcher says so. */
export function commandName(): string {
  return process.env['LEMNIS_COMMAND'] ?? 'lemnis'
}
