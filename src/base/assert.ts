// Owns the one way to say "this cannot happen". A broken invariant is a bug: it is thrown as
// InvariantError, which nobody but a composition root in bin/ catches, and that one stops the process.

export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new InvariantError(what)
}

/** The default branch of an exhaustive switch: a new member of the union fails to compile here. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${String(value)}`)
}

/** The value, where the caller knows that it is there. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new InvariantError(what)
  return value
}
