// Owns what the scripts share: running a program, and bringing node_modules and dist up to date.
// Needs nothing but Node and npm, because it runs on a fresh clone.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '..')

/**
 * Runs a program in the project's root and resolves with {code, output, seconds}; it never rejects.
 * `show` passes the output on as it comes, besides or instead of gathering it.
 */
export function run(program, args, { show = false, env = {} } = {}) {
  const startedMs = performance.now()
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      env: { ...process.env, NO_COLOR: '1', ...env },
      stdio: show ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const finish = (code) => {
      resolve({ code, output, seconds: (performance.now() - startedMs) / 1000 })
    }
    child.stdout?.setEncoding('utf8').on('data', (text) => (output += text))
    child.stderr?.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', (error) => {
      output += `${program}: ${error.message}\n`
      finish(127)
    })
    child.on('close', (code, signal) => {
      if (signal !== null) output += `${program} was ended by ${signal}\n`
      finish(code ?? 1)
    })
  })
}

/** A program that npm installed. */
export function tool(name) {
  return join(ROOT, 'node_modules', '.bin', name)
}

/** Holds the hash of the lock file that node_modules was last made from. */
const INSTALL_STAMP = join(ROOT, 'node_modules', '.installed')

function lockHash() {
  return createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex')
}

export function installIsStale() {
  return !existsSync(INSTALL_STAMP) || readFileSync(INSTALL_STAMP, 'utf8') !== lockHash()
}

/**
 * Installs exactly what the lock file says, and leaves it as it is. Not by `npm ci`: that refuses a lock
 * file without the native packages of other platforms, which not every registry carries.
 */
export async function install() {
  const result = await run('npm', ['install', '--no-save', '--no-progress'])
  if (result.code === 0) writeFileSync(INSTALL_STAMP, lockHash())
  return result
}

/** Written after each build that succeeded, with the time at which it began. */
const BUILD_STAMP = join(ROOT, 'dist', '.built')

export function buildIsStale() {
  if (!existsSync(BUILD_STAMP)) return true
  const builtMs = statSync(BUILD_STAMP).mtimeMs
  const files = ['tsconfig.json', 'package-lock.json'].map((name) => join(ROOT, name))
  if (files.some((file) => statSync(file).mtimeMs > builtMs)) return true
  return ['src', 'bench', 'test'].some((folder) => newestMs(join(ROOT, folder)) > builtMs)
}

export async function build() {
  const begun = new Date()
  const result = await run(tool('tsc'), ['-p', 'tsconfig.json'])
  if (result.code === 0) {
    writeFileSync(BUILD_STAMP, '')
    utimesSync(BUILD_STAMP, begun, begun)
  }
  return result
}

/** Files and folders: a folder's own time changes when a file in it comes or goes. */
function newestMs(folder) {
  let newest = statSync(folder).mtimeMs
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    const { mtimeMs } = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false }) ?? {
      mtimeMs: 0,
    }
    if (mtimeMs > newest) newest = mtimeMs
  }
  return newest
}
