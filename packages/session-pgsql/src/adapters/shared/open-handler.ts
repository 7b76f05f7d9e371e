import { SessionPgsqlError } from '../../errors.ts'
import { SaveHandler } from '../../save-handler.ts'
import type { SaveHandlerOptions, Settings } from '../../settings/settings.ts'

/** The options of an adapter that shares a save handler with others. */
export interface SharedHandlerOptions {
  /**
   * The save handler. The adapter does not close it. Set its option `shortCircuit: true`, or every request
   * writes.
   */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of any data
  handler: SaveHandler<any>
  /** The name stored with new sessions. @default the framework's default name for its cookie */
  name?: string | undefined
  /** Seconds that a session lives, unless the framework passes the maxAge of its cookie. @default 86400 */
  gcMaxlifetime?: number | undefined
}

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name` the
 * framework's default name for its cookie, `gcMaxlifetime` (unless the cookie has a maxAge) 86400.
 */
export type AdapterOptions<Data> = (SaveHandlerOptions<Data> & { handler?: undefined }) | SharedHandlerOptions

/** The save handler of an adapter. */
export interface OpenHandler<Data> {
  readonly handler: SaveHandler<Data>
  /** The save handler's `maxLifetime`, in seconds; Infinity: unlimited. */
  readonly maxLifetime: number
  /** Closes the save handler if the adapter created it. A shared one stays open. */
  close(): Promise<void>
}

/** The save handler of an adapter whose sessions have a cookie. */
export interface AdapterHandler<Data> extends OpenHandler<Data> {
  /** The name stored with new sessions. */
  readonly name: string
  /** Seconds that a session lives, unless its cookie has a maxAge. */
  readonly lifetime: number
}

/** @throws INVALID_OPTION */
export function openHandler<Data>(options: AdapterOptions<Data>, cookieName: string): AdapterHandler<Data> {
  const defaults = { name: cookieName, gcMaxlifetime: 86_400, shortCircuit: true }
  if (options.handler === undefined) {
    const { handler: _, ...own } = options
    const opened = ownOrShared<Data>(undefined, own, defaults)
    const { name, gcMaxlifetime } = opened.handler.status().settings
    return { ...opened, name: name as string, lifetime: gcMaxlifetime as number }
  }
  const { handler, name = defaults.name, gcMaxlifetime = defaults.gcMaxlifetime, ...others } = options
  const opened = ownOrShared<Data>(handler, others, defaults)
  if (typeof name !== 'string' || name === '') {
    throw invalidOption(
      `option name: expected a string that is not empty; received ${name === '' ? 'an empty one' : typeof name}`,
    )
  }
  if (!(gcMaxlifetime > 0)) {
    throw invalidOption(`option gcMaxlifetime: expected more than 0 seconds; received ${gcMaxlifetime}`)
  }
  return { ...opened, name, lifetime: gcMaxlifetime }
}

/**
 * Takes a save handler that is shared, or creates one.
 *
 * @param handler the save handler to share
 * @param options for a save handler of the adapter's own; no other option is allowed with a shared one
 * @param defaults the adapter's defaults, for a save handler of its own
 * @throws INVALID_OPTION
 */
export function ownOrShared<Data>(
  // biome-ignore lint/suspicious/noExplicitAny: a handler of any data
  handler: SaveHandler<any> | undefined,
  options: SaveHandlerOptions<Data>,
  defaults: Partial<Settings>,
): OpenHandler<Data> {
  if (handler === undefined) {
    const own = new SaveHandler<Data>(options, { defaults })
    return { handler: own, maxLifetime: maxLifetimeOf(own), close: () => own.close() }
  }
  if (typeof handler?.read !== 'function') {
    const received = handler === null ? 'null' : typeof handler
    throw invalidOption(`option handler: expected a SaveHandler; received ${received}`)
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) {
      throw invalidOption(
        `option ${name}: expected it to be unset with a shared handler. Set it on that save handler instead.`,
      )
    }
  }
  return { handler, maxLifetime: maxLifetimeOf(handler), close: () => Promise.resolve() }
}

// biome-ignore lint/suspicious/noExplicitAny: a handler of any data
function maxLifetimeOf(handler: SaveHandler<any>): number {
  // `status()` is JSON, which has no Infinity.
  return Number(handler.status().settings.maxLifetime)
}

/**
 * Returns when a session ends at the latest, in milliseconds since 1970 by this machine's clock; Infinity: never.
 *
 * @param record undefined: the session is not stored yet
 * @param maxLifetime seconds
 */
export function endOf(
  record: { readonly endsAt: Date | null; readonly clockAhead: number } | undefined,
  maxLifetime: number,
): number {
  if (record === undefined) return Date.now() + maxLifetime * 1000
  return record.endsAt === null ? Number.POSITIVE_INFINITY : record.endsAt.getTime() - record.clockAhead
}

export function invalidOption(message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_OPTION', message)
}
