import { SessionPgsqlError } from '../../errors.ts'
import { SaveHandler } from '../../save-handler.ts'
import type { SaveHandlerOptions, Settings } from '../../settings/settings.ts'

/** Every adapter takes either a save handler to share or the options of one of its own. */
export interface Opened<Data> {
  readonly handler: SaveHandler<Data>
  /** Closes a handler of one's own; a shared one stays open. */
  close(): Promise<void>
}

/**
 * @param handler one to share
 * @param options for one's own; none may be given along with a handler
 * @param defaults the adapter's, for one's own
 * @throws INVALID_OPTION
 */
export function ownOrShared<Data>(
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  handler: SaveHandler<any> | undefined,
  options: SaveHandlerOptions<Data>,
  defaults: Partial<Settings>,
): Opened<Data> {
  if (handler === undefined) {
    const own = new SaveHandler<Data>(options, { defaults })
    return { handler: own, close: () => own.close() }
  }
  if (typeof handler?.read !== 'function') throw invalidOption('option handler: expected a SaveHandler')
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) {
      throw invalidOption(`option ${name}: it belongs to the save handler that is shared here; set it there`)
    }
  }
  return { handler, close: () => Promise.resolve() }
}

export function invalidOption(problem: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_OPTION', problem)
}
