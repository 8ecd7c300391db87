// Owns what shape a JSON value must have: schemas that check a value and give its static type. Only what
// control calls and records need, because every process loads it, each command of the CLI among them.
// Members of objects that a schema does not name are ignored, so that a newer side may say more.

/** Where a value does not have its shape, such as `/disk/errors`, and why. */
export interface Fault {
  readonly path: string
  readonly reason: string
}

declare const STATIC: unique symbol

/** `fault` is null for a value of the shape. Nothing is allocated for one that is. */
export interface TSchema<T = unknown> {
  readonly [STATIC]: T
  readonly isOptional: boolean
  fault(value: unknown): Fault | null
}

interface TOptional<T> extends TSchema<T> {
  readonly isOptional: true
}

export type Static<S extends TSchema> = S[typeof STATIC]

type Members = Readonly<Record<string, TSchema>>
type OptionalNames<M extends Members> = {
  [K in keyof M]: M[K] extends TOptional<unknown> ? K : never
}[keyof M]
type Flat<T> = { [K in keyof T]: T[K] }
type ObjectOf<M extends Members> = Flat<
  { [K in Exclude<keyof M, OptionalNames<M>>]: Static<M[K]> } & {
    [K in OptionalNames<M>]?: Static<M[K]>
  }
>

interface Lengths {
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
}

interface Range {
  readonly minimum?: number
  readonly maximum?: number
}

interface Count {
  readonly minItems?: number
  readonly maxItems?: number
}

function schema<T>(fault: (value: unknown) => Fault | null): TSchema<T> {
  return { isOptional: false, fault } as TSchema<T>
}

function here(reason: string): Fault {
  return { path: '', reason }
}

function below(name: string | number, { path, reason }: Fault): Fault {
  return { path: `/${name}${path}`, reason }
}

function numberSchema(
  what: string,
  isOne: (value: unknown) => boolean,
  range: Range,
): TSchema<number> {
  const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = range
  const wrong = here(`must be ${what}`)
  const outside = here(`must be from ${minimum} to ${maximum}`)
  return schema((value) => {
    if (!isOne(value)) return wrong
    return (value as number) < minimum || (value as number) > maximum ? outside : null
  })
}

function stringSchema({ minLength = 0, maxLength, pattern }: Lengths): TSchema<string> {
  const most = maxLength ?? Number.POSITIVE_INFINITY
  const form = pattern === undefined ? null : new RegExp(pattern)
  const wrong = here('must be a string')
  const outside = here(`must have from ${minLength} to ${most} characters`)
  const other = here(`must match ${pattern}`)
  return schema((value) => {
    if (typeof value !== 'string') return wrong
    if (value.length < minLength || value.length > most) return outside
    return form === null || form.test(value) ? null : other
  })
}

function arraySchema<S extends TSchema>(item: S, count: Count): TSchema<Static<S>[]> {
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = count
  const wrong = here('must be an array')
  const outside = here(`must have from ${minItems} to ${maxItems} items`)
  return schema((value) => {
    if (!Array.isArray(value)) return wrong
    if (value.length < minItems || value.length > maxItems) return outside
    for (let i = 0; i < value.length; i++) {
      const fault = item.fault(value[i])
      if (fault !== null) return below(i, fault)
    }
    return null
  })
}

function objectSchema<M extends Members>(members: M): TSchema<ObjectOf<M>> {
  const entries = Object.entries(members)
  const wrong = here('must be an object')
  return schema((value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong
    for (const [name, member] of entries) {
      // A member that Object.prototype has is not the value's own.
      const given = Object.hasOwn(value, name)
        ? (value as Record<string, unknown>)[name]
        : undefined
      if (given === undefined) {
        if (member.isOptional) continue
        return below(name, here('is missing'))
      }
      const fault = member.fault(given)
      if (fault !== null) return below(name, fault)
    }
    return null
  })
}

function unionSchema<S extends readonly TSchema[]>(
  parts: readonly [...S],
): TSchema<Static<S[number]>> {
  return schema((value) => {
    let deepest: Fault | null = null
    for (const part of parts) {
      const fault = part.fault(value)
      if (fault === null) return null
      // What came furthest was probably meant.
      if (deepest === null || fault.path.length > deepest.path.length) deepest = fault
    }
    return deepest === null || deepest.path === ''
      ? here('must be one of the values allowed')
      : deepest
  })
}

export const Type = {
  Object: objectSchema,
  Array: <S extends TSchema>(item: S, count: Count = {}) => arraySchema(item, count),
  Union: unionSchema,
  Optional: <S extends TSchema>(of: S): TOptional<Static<S>> => ({ ...of, isOptional: true }),
  Literal: <const T extends string | number | boolean>(one: T): TSchema<T> => {
    const wrong = here(`must be ${JSON.stringify(one)}`)
    return schema((value) => (value === one ? null : wrong))
  },
  String: (lengths: Lengths = {}) => stringSchema(lengths),
  Integer: (range: Range = {}) => numberSchema('a whole number', Number.isInteger, range),
  Number: (range: Range = {}) => numberSchema('a number', Number.isFinite, range),
  Boolean: (): TSchema<boolean> => {
    const wrong = here('must be true or false')
    return schema((value) => (typeof value === 'boolean' ? null : wrong))
  },
} as const
