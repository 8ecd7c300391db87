// Owns what commands ask of the HTTP ports of roles: JSON, and metrics summed over their labels.

import type { HttpRole } from './roles.ts'

const ASK_MS = 3000
/** Asked at once: enough to be quick, few enough for any machine. */
const AT_ONCE = 32

async function reply(address: string, path: string): Promise<Response> {
  try {
    return await fetch(`http://${address}${path}`, { signal: AbortSignal.timeout(ASK_MS) })
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    throw new Error(cause instanceof Error ? cause.message : String(cause), { cause: error })
  }
}

/** Rejects with a message for people. */
export async function askJson<T>(address: string, path: string): Promise<T> {
  return (await (await reply(address, path)).json()) as T
}

/** Each of `names` (without `lemnis_`), summed over labels; 0 for one that is not there yet. */
export async function askMetrics<N extends string>(
  address: string,
  names: readonly N[],
): Promise<Record<N, number>> {
  const sums = Object.fromEntries(names.map((name) => [name, 0])) as Record<N, number>
  for (const line of (await (await reply(address, '/metrics')).text()).split('\n')) {
    const name = /^lemnis_(\w+)[ {]/.exec(line)?.[1] as N | undefined
    if (name === undefined || !Object.hasOwn(sums, name)) continue
    sums[name] += Number(line.slice(line.lastIndexOf(' ') + 1))
  }
  return sums
}

/** What `ask` gives for each, or why it could not be asked. */
export async function askEach<T>(
  roles: readonly HttpRole[],
  ask: (role: HttpRole) => Promise<T>,
): Promise<{ readonly role: HttpRole; readonly answer: T | null; readonly why: string }[]> {
  const answers: { role: HttpRole; answer: T | null; why: string }[] = []
  for (let i = 0; i < roles.length; i += AT_ONCE) {
    const some = roles.slice(i, i + AT_ONCE).map(async (role) => {
      try {
        return { role, answer: await ask(role), why: '' }
      } catch (error) {
        return { role, answer: null, why: error instanceof Error ? error.message : String(error) }
      }
    })
    answers.push(...(await Promise.all(some)))
  }
  return answers
}
