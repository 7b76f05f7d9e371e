import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'

/**
 * Node's diagnostics channels: what save handlers do, told to whoever measures or traces it. It costs nothing
 * until somebody listens. The channels belong to the process; each message says whose it is.
 *
 * No message holds the id, the data or an address of a session, so that whoever counts them cannot leak any.
 */

/** What every message holds. */
export interface DiagnosticsMessage {
  /** The `SaveHandler` whose doing it is. */
  readonly handler: object
}

/**
 * The message of `tracing:session-pgsql:read:start` and the like, of `read`, `write`, `touch` and `destroy`: one
 * object from the beginning of an operation to its end.
 */
export interface OperationMessage<Outcome extends string> extends DiagnosticsMessage {
  /** When it began, in milliseconds of `performance.now()`. */
  readonly at: number
  /** Known at `asyncEnd`, if it did not fail. */
  outcome?: Outcome
  /** Known at `error`: what the operation rejects with. */
  error?: unknown
}

export type ReadMessage = OperationMessage<'found' | 'absent'>
/** The outcomes of `WriteResult`. */
export type WriteMessage = OperationMessage<'created' | 'updated' | 'merged' | 'skipped' | 'gone'>
export type TouchMessage = OperationMessage<'touched' | 'skipped' | 'absent'>
export type DestroyMessage = OperationMessage<'destroyed' | 'absent'>

/** The message of `session-pgsql:queued`: what one operation wants of one server waits for its statement. */
export interface QueuedMessage extends DiagnosticsMessage {
  /** The server's name, as in `status()`. */
  readonly server: string
  /** RequestRows of one kind share statements: `read`, `save`, `touch`, `put`, `destroy`, `quickSave`, `quickTouch`. */
  readonly kind: string
  /** Milliseconds of `performance.now()`. */
  readonly at: number
}

/** The message of `tracing:session-pgsql:batch:start` and the like: one statement for many sessions. */
export interface BatchMessage extends DiagnosticsMessage {
  readonly server: string
  readonly kind: string
  /** Sessions in it. */
  readonly size: number
  /** Of each of them what `session-pgsql:queued` has told, in their order, if somebody listened to it then. */
  readonly orders: readonly (QueuedMessage | undefined)[]
  /** When the statement went out, in milliseconds of `performance.now()`. */
  readonly at: number
  error?: unknown
}

/** The message of `tracing:session-pgsql:gc:start` and the like: the garbage collection of one server. */
export interface GcMessage extends DiagnosticsMessage {
  readonly server: string
  /** When it began, in milliseconds of `performance.now()`. */
  readonly at: number
  /** Known at `asyncEnd`: sessions removed or emptied. */
  removed?: number
  /** `busy`: another process is at it, and it was left to that one; `interrupted`: the handler was closed. */
  outcome?: 'done' | 'busy' | 'interrupted'
  error?: unknown
}

/** What has a beginning and an end, and the message of each. */
export interface TracedMessages {
  read: ReadMessage
  write: WriteMessage
  touch: TouchMessage
  destroy: DestroyMessage
  batch: BatchMessage
  gc: GcMessage
}

export const tracing: {
  readonly [Name in keyof TracedMessages]: TracingChannel<unknown, TracedMessages[Name]>
} = {
  read: tracingChannel('session-pgsql:read'),
  write: tracingChannel('session-pgsql:write'),
  touch: tracingChannel('session-pgsql:touch'),
  destroy: tracingChannel('session-pgsql:destroy'),
  batch: tracingChannel('session-pgsql:batch'),
  gc: tracingChannel('session-pgsql:gc'),
}

/** Every event of a save handler has a channel of its name: `session-pgsql:serverDown`. */
export const EVENTS = [
  'gone',
  'conflict',
  'serverDown',
  'serverUp',
  'failover',
  'promoted',
  'broughtHome',
  'gc',
  'error',
] as const

export type EventName = (typeof EVENTS)[number]

const queuedChannel = channel('session-pgsql:queued')

const eventChannels = Object.fromEntries(
  EVENTS.map((name) => [name, channel(`session-pgsql:${name}`)]),
) as Record<EventName, Channel>

/**
 * Does `work`, and tells of its beginning and its end. To be called only if somebody listens
 * (`hasSubscribers`): whoever does not ask makes no message.
 *
 * @param told what its result adds to the message. The result itself, which may be a session, is not told.
 */
export async function traced<Message extends object, T>(
  to: TracingChannel<unknown, Message>,
  about: Omit<Message, 'at'>,
  work: () => Promise<T>,
  told: (result: T) => Partial<Message>,
): Promise<T> {
  const message = { ...about, at: performance.now() } as unknown as Message
  let result: T | undefined
  await to.tracePromise(async () => {
    result = await work()
    Object.assign(message, told(result))
  }, message)
  return result as T
}

/** Tells that something waits for its statement; undefined if nobody listens. */
export function queued(handler: object, server: string, kind: string): QueuedMessage | undefined {
  if (!queuedChannel.hasSubscribers) return undefined
  const message: QueuedMessage = { handler, server, kind, at: performance.now() }
  queuedChannel.publish(message)
  return message
}

/** Tells of an event what the handler's listeners are told, but for the id. */
export function announce(handler: object, event: EventName, about: object): void {
  const to = eventChannels[event]
  if (!to.hasSubscribers) return
  const { id: _, ...rest } = about as { id?: string }
  to.publish({ handler, ...rest })
}
