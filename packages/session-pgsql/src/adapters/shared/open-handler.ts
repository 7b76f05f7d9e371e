import type { SaveHandler } from '../../save-handler.ts'
import type { SaveHandlerOptions } from '../../settings/settings.ts'
import { invalidOption, ownOrShared } from './own-handler.ts'

/** The save handler behind an adapter: its own, or one that is shared. */

/** For an adapter over a save handler that others use too. */
export interface SharedHandlerOptions {
  /**
   * The save handler. The adapter does not close it. An adapter wants `shortCircuit: true`, which a save handler
   * has not by itself.
   */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  handler: SaveHandler<any>
  /** The name stored with new sessions. @default the framework's own name for its cookie */
  name?: string | undefined
  /** Seconds that a session lives whose cookie has no maxAge. @default 86400 */
  gcMaxlifetime?: number | undefined
}

/**
 * All options of a save handler, with other defaults for three of them: `shortCircuit` true, `name` the
 * framework's own name for its cookie, `gcMaxlifetime` (for cookies without maxAge) 86400; or a `handler` to
 * share.
 */
export type AdapterOptions<Data> = (SaveHandlerOptions<Data> & { handler?: undefined }) | SharedHandlerOptions

export interface AdapterHandler<Data> {
  readonly handler: SaveHandler<Data>
  /** The sessions' name. */
  readonly name: string
  /** Seconds; for cookies without an age. */
  readonly lifetime: number
  /** Closes the save handler if it is the adapter's own. */
  close(): Promise<void>
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
  if (typeof name !== 'string' || name === '')
    throw invalidOption('option name: expected the name of the cookie')
  if (!(gcMaxlifetime > 0)) throw invalidOption('option gcMaxlifetime: expected seconds, more than 0')
  return { ...opened, name, lifetime: gcMaxlifetime }
}
