import { SessionPgsqlError } from '../../errors.ts'
import { SaveHandler } from '../../save-handler.ts'
import type { SaveHandlerOptions } from '../../settings.ts'

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
export function openHandler<Data>(options: AdapterOptions<Data>, name: string): AdapterHandler<Data> {
  const defaults = { name, gcMaxlifetime: 86_400, shortCircuit: true }
  if (options.handler !== undefined) {
    checkShared(options)
    return {
      handler: options.handler,
      name: options.name ?? defaults.name,
      lifetime: options.gcMaxlifetime ?? defaults.gcMaxlifetime,
      close: async () => {},
    }
  }
  const { handler: _, ...own } = options
  const handler = new SaveHandler<Data>(own, { defaults })
  const { settings } = handler.status()
  return {
    handler,
    name: settings.name as string,
    lifetime: settings.gcMaxlifetime as number,
    close: () => handler.close(),
  }
}

function checkShared(options: SharedHandlerOptions): void {
  const { handler, name, gcMaxlifetime, ...others } = options
  const refuse = (problem: string): never => {
    throw new SessionPgsqlError('INVALID_OPTION', problem)
  }
  if (typeof handler?.read !== 'function') {
    refuse('option handler: expected a SaveHandler')
  }
  const [other] = Object.keys(others)
  if (other !== undefined) {
    refuse(`option ${other}: it belongs to the save handler that is shared here; set it there`)
  }
  if (name !== undefined && (typeof name !== 'string' || name === '')) {
    refuse('option name: expected the name of the cookie')
  }
  if (gcMaxlifetime !== undefined && !(gcMaxlifetime > 0)) {
    refuse('option gcMaxlifetime: expected seconds, more than 0')
  }
}
