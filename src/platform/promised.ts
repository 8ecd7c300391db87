// Owns a promise that is settled from outside, as streams need it (Node 20 has no
// Promise.withResolvers).

export interface Promised<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

export function promised<T>(): Promised<T> {
  let settle: Omit<Promised<T>, 'promise'> | null = null
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject }
  })
  return { promise, ...(settle as unknown as Omit<Promised<T>, 'promise'>) }
}
