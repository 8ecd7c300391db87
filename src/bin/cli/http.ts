// Owns what commands ask of the HTTP ports of roles: JSON, and metrics summed over their labels.

import type { HttpRole } from './roles.ts'

const ASK_MS = 3000
/** Asked at once: enough to be quick, few enough for any machine. */
const AT_ONCE = 64
/** Where many do not answer, the others have to do: a person waits. */
const ASK_ALL_MS = 12_000

async function reply<T>(
  address: string,
  path: string,
  read: (response: Response) => Promise<T>,
  timeoutMs = ASK_MS,
): Promise<T> {
  try {
    const signal = AbortSignal.timeout(timeoutMs)
    return await read(await fetch(`http://${address}${path}`, { signal }))
  } catch (error) {
    throw new Error(whyNot(error, timeoutMs), { cause: error })
  }
}

/** For people: a process that hangs takes the connection and says nothing. */
function whyNot(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs / 1000} s`
  const cause = error.cause instanceof Error ? error.cause : error
  const isRefused = 'code' in cause && cause.code === 'ECONNREFUSED'
  return isRefused ? 'nobody listens there' : cause.message
}

/** Rejects with a message for people. */
export async function askJson<T>(address: string, path: string, timeoutMs?: number): Promise<T> {
  return reply(address, path, (response) => response.json() as Promise<T>, timeoutMs)
}

/** Each of `names` (without `lemnis_`), summed over labels; 0 for one that is not there yet. */
export async function askMetrics<N extends string>(
  address: string,
  names: readonly N[],
): Promise<Record<N, number>> {
  const sums = Object.fromEntries(names.map((name) => [name, 0])) as Record<N, number>
  const text = await reply(address, '/metrics', (response) => response.text())
  for (const line of text.split('\n')) {
    const name = /^lemnis_(\w+)[ {]/.exec(line)?.[1] as N | undefined
    if (name === undefined || !Object.hasOwn(sums, name)) continue
    sums[name] += Number(line.slice(line.lastIndexOf(' ') + 1))
  }
  return sums
}

interface Asked<T> {
  readonly role: HttpRole
  readonly answer: T | null
  readonly why: string
}

/** What `ask` gives for each, or why it could not be asked; in the order of `roles`, soon. */
export async function askEach<T>(
  roles: readonly HttpRole[],
  ask: (role: HttpRole) => Promise<T>,
): Promise<Asked<T>[]> {
  const why = 'not asked, as many others do not answer'
  const answers = roles.map((role): Asked<T> => ({ role, answer: null, why }))
  const untilMs = performance.now() + ASK_ALL_MS
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < roles.length && performance.now() < untilMs) {
      const i = next++
      const role = roles[i] as HttpRole
      try {
        answers[i] = { role, answer: await ask(role), why: '' }
      } catch (error) {
        answers[i] = {
          role,
          answer: null,
          why: error instanceof Error ? error.message : String(error),
        }
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return answers
}
