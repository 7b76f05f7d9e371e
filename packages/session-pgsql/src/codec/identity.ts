/** The fields that can identify an object; the first that applies counts. */
export const IDENTITY_FIELDS = ['id', '_id', 'uuid', 'key', 'sku'] as const

type IdentityField = (typeof IDENTITY_FIELDS)[number]

/** Reads a field of a value; undefined if the value has no fields, or not this one. */
export type ReadField = (value: unknown, field: string) => unknown

type Identity = string | number | bigint

/** Returns what this field says about each element; undefined if it does not identify all of them. */
export function identitiesAt(
  field: IdentityField,
  list: readonly unknown[],
  read: ReadField,
): Identity[] | undefined {
  const identities: Identity[] = []
  for (const element of list) {
    const identity = identityAt(field, element, read)
    if (identity === undefined) return undefined
    identities.push(identity)
  }
  return identities
}

/** Whether two objects have the same identity; undefined if that cannot be told. */
export function haveSameIdentity(one: unknown, other: unknown, read: ReadField): boolean | undefined {
  for (const field of IDENTITY_FIELDS) {
    const identity = identityAt(field, one, read)
    if (identity === undefined) continue
    const second = identityAt(field, other, read)
    if (second !== undefined) return identity === second
  }
  return undefined
}

function identityAt(field: IdentityField, value: unknown, read: ReadField): Identity | undefined {
  const identity = read(value, field)
  const type = typeof identity
  return type === 'string' || type === 'number' || type === 'bigint' ? (identity as Identity) : undefined
}
