import { type Channel, channel, tracingChannel } from 'node:diagnostics_channel'

/**
 * Publishes what save handlers do on Node's diagnostics channels, for metrics and traces. Costs nothing without
 * subscribers. The channels are those of the process; each message names its save handler.
 *
 * No message contains the id, the data or an IP address of a session, so that metrics cannot leak them.
 */

/** The properties of every message. */
export interface DiagnosticsMessage {
  /** The `SaveHandler` that publishes the message. */
  readonly handler: object
}

/**
 * The message of the channels `tracing:session-pgsql:read:start` etc., for `read`, `write`, `touch` and `destroy`. One
 * object for all events of an operation.
 */
export interface OperationMessage<Outcome extends string> extends DiagnosticsMessage {
  /** When it started, in milliseconds of `performance.now()`. */
  readonly at: number
  /** Set at `asyncEnd`, unless the operation failed. */
  outcome?: Outcome
  /** Set at `error`: the error with which the operation rejects. */
  error?: unknown
}

export type ReadMessage = OperationMessage<'found' | 'absent'>
/** Has the outcomes of `WriteResult`. */
export type WriteMessage = OperationMessage<'created' | 'updated' | 'merged' | 'skipped' | 'gone'>
export type TouchMessage = OperationMessage<'touched' | 'skipped' | 'absent'>
export type DestroyMessage = OperationMessage<'destroyed' | 'absent'>

/** The message of `session-pgsql:queued`: a request to a server waits to be sent in a batch. */
export interface QueuedMessage extends DiagnosticsMessage {
  /** The server's name, as in `status()`. */
  readonly server: string
  /** Requests of one kind share statements: `read`, `save`, `touch`, `put`, `destroy`, `quickSave`, `quickTouch`. */
  readonly kind: string
  /** When it was queued, in milliseconds of `performance.now()`. */
  readonly at: number
}

/** The message of the channels `tracing:session-pgsql:batch:start` etc.: one statement for many sessions. */
export interface BatchMessage extends DiagnosticsMessage {
  /** The server's name, as in `status()`. */
  readonly server: string
  /** The kind of its requests; see `QueuedMessage`. */
  readonly kind: string
  /** The number of sessions. */
  readonly size: number
  /** The `QueuedMessage` of each session, in order; undefined if `session-pgsql:queued` had no subscriber then. */
  readonly orders: readonly (QueuedMessage | undefined)[]
  /** When the statement was sent, in milliseconds of `performance.now()`. */
  readonly at: number
  /** Set at `error`. */
  error?: unknown
}

/** The message of the channels `tracing:session-pgsql:gc:start` etc.: the garbage collection of one server. */
export interface GcMessage extends DiagnosticsMessage {
  /** The server's name, as in `status()`. */
  readonly server: string
  /** When it started, in milliseconds of `performance.now()`. */
  readonly at: number
  /** Set at `asyncEnd`: the number of sessions removed or emptied. */
  removed?: number
  /** Set at `asyncEnd`. `busy`: other transactions have locked the rest; `interrupted`: the save handler was closed. */
  outcome?: 'done' | 'busy' | 'interrupted'
  /** Set at `error`. */
  error?: unknown
}

/** The traced operations and their messages. */
export interface TracedMessages {
  read: ReadMessage
  write: WriteMessage
  touch: TouchMessage
  destroy: DestroyMessage
  batch: BatchMessage
  gc: GcMessage
}

type Stage = 'start' | 'end' | 'asyncStart' | 'asyncEnd' | 'error'

/**
 * The part of Node's `TracingChannel` that is used here. Not that type itself: its type parameters differ between the
 * versions of @types/node, with which the published declarations must compile.
 */
export interface OperationChannel<Message extends object> extends Readonly<Record<Stage, Channel>> {
  tracePromise(work: () => Promise<void>, message: Message): unknown
}

export const tracing: {
  readonly [Name in keyof TracedMessages]: OperationChannel<TracedMessages[Name]>
} = {
  read: tracingChannel('session-pgsql:read'),
  write: tracingChannel('session-pgsql:write'),
  touch: tracingChannel('session-pgsql:touch'),
  destroy: tracingChannel('session-pgsql:destroy'),
  batch: tracingChannel('session-pgsql:batch'),
  gc: tracingChannel('session-pgsql:gc'),
}

/** The events of a save handler. Each has a channel, such as `session-pgsql:serverDown`. */
export const EVENTS = [
  'gone',
  'conflict',
  'serverDown',
  'serverUp',
  'failover',
  'promoted',
  'broughtHome',
  'gc',
  'ended',
  'missed',
  'error',
] as const

export type EventName = (typeof EVENTS)[number]

const queuedChannel = channel('session-pgsql:queued')

const eventChannels = Object.fromEntries(
  EVENTS.map((name) => [name, channel(`session-pgsql:${name}`)]),
) as Record<EventName, Channel>

/**
 * Returns true if an operation has subscribers. It asks the channels of its stages, because Bun has no `hasSubscribers`
 * of the tracing channel itself.
 */
export function isTraced(to: Readonly<Record<Stage, { readonly hasSubscribers: boolean }>>): boolean {
  return (
    to.start.hasSubscribers ||
    to.end.hasSubscribers ||
    to.asyncStart.hasSubscribers ||
    to.asyncEnd.hasSubscribers ||
    to.error.hasSubscribers
  )
}

/**
 * Runs `work` and publishes its start and end. Call it only if the channel has subscribers (`isTraced`), so that no
 * message is created without them.
 *
 * @param resultOf what the result adds to the message; the result itself, which may be a session, is not published
 */
export async function traced<Message extends object, T>(
  to: OperationChannel<Message>,
  about: Omit<Message, 'at'>,
  work: () => Promise<T>,
  resultOf: (result: T) => Partial<Message>,
): Promise<T> {
  const message = { ...about, at: performance.now() } as unknown as Message
  let result: T | undefined
  await to.tracePromise(async () => {
    result = await work()
    Object.assign(message, resultOf(result))
  }, message)
  return result as T
}

/** Publishes that a request waits to be sent. Returns the message; undefined without subscribers. */
export function queued(handler: object, server: string, kind: string): QueuedMessage | undefined {
  if (!queuedChannel.hasSubscribers) return undefined
  const message: QueuedMessage = { handler, server, kind, at: performance.now() }
  queuedChannel.publish(message)
  return message
}

/** Publishes an event as the save handler emits it, without the session's id and custom field. */
export function announce(handler: object, event: EventName, about: object): void {
  const to = eventChannels[event]
  if (!to.hasSubscribers) return
  const { id: _id, custom: _custom, ...rest } = about as { id?: string; custom?: string }
  to.publish({ handler, ...rest })
}
