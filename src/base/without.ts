// Owns the leaving out of optional members of a record.

/** A copy of `value` that lacks `keys`. */
export function without<T extends object, K extends keyof T>(
  value: T,
  ...keys: readonly K[]
): Omit<T, K> {
  const copy: Partial<T> = { ...value }
  for (const key of keys) delete copy[key]
  return copy as Omit<T, K>
}
