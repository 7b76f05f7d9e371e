import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import {
  context,
  ProxyTracerProvider,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import {
  type BatchMessage,
  type GcMessage,
  type OperationMessage,
  type QueuedMessage,
  tracing,
} from '../../diagnostics.ts'
import type { SaveHandler } from '../../save-handler.ts'
import { errorType, Subscriptions } from './subscriptions.ts'

const OPERATIONS = ['read', 'write', 'touch', 'destroy'] as const

/**
 * Records the spans of one save handler: an operation is a child of its caller's span, and its statement a child of
 * the operation. A statement for several operations is a child of the first one that is traced, with links to the
 * others.
 *
 * @param tracerProvider default: the registered one
 * @returns a function that stops the recording
 */
export function recordTraces(
  // biome-ignore lint/suspicious/noExplicitAny: a handler of any data
  sessions: SaveHandler<any>,
  tracerProvider: TracerProvider = trace.getTracerProvider(),
): () => void {
  // Without a registered provider it must not subscribe: tracking each operation into its queue has a cost.
  if (tracerProvider instanceof ProxyTracerProvider && !tracerProvider.getDelegateTracer('session-pgsql')) {
    return () => {}
  }
  const tracer = tracerProvider.getTracer('session-pgsql')
  const subscriptions = new Subscriptions(sessions)
  /** The span of the operation in progress. */
  const current = new AsyncLocalStorage<Span | undefined>()
  /** The span of an operation or statement, by its message. */
  const spans = new WeakMap<object, Span>()

  const end = (message: OperationMessage<string> | BatchMessage | GcMessage): void => {
    const span = spans.get(message)
    if (span === undefined) return
    if (message.error !== undefined) {
      span.setAttribute('error.type', errorType(message.error))
      span.setStatus({ code: SpanStatusCode.ERROR })
    } else if ('outcome' in message) {
      span.setAttribute('session_pgsql.outcome', message.outcome)
    }
    span.end()
  }

  for (const operation of OPERATIONS) {
    const { start, asyncEnd } = tracing[operation]
    // This runs in the caller's context: the caller's span becomes the parent.
    start.bindStore(current, (message) => {
      if (!subscriptions.isOurs(message)) return current.getStore()
      const span = tracer.startSpan(`session ${operation}`, {
        attributes: { 'db.system.name': 'postgresql', 'db.operation.name': operation },
      })
      spans.set(message as object, span)
      return span
    })
    subscriptions.add(() => start.unbindStore(current))
    subscriptions.on(asyncEnd, end)
  }

  subscriptions.on(channel('session-pgsql:queued'), (message: QueuedMessage) => {
    const span = current.getStore()
    if (span?.isRecording()) spans.set(message, span)
  })
  subscriptions.on(tracing.batch.start, (message: BatchMessage) => {
    const { server, kind, size, orders } = message
    const [first, ...others] = orders.flatMap((queued) => (queued && spans.get(queued)) ?? [])
    // None of the operations is traced.
    if (first === undefined) return
    const attributes = {
      'db.system.name': 'postgresql',
      'db.operation.name': kind,
      'db.operation.batch.size': size,
      'session_pgsql.server': server,
    }
    const links = others.map((span) => ({ context: span.spanContext() }))
    const parent = trace.setSpan(context.active(), first)
    spans.set(
      message,
      tracer.startSpan(`session batch ${kind}`, { kind: SpanKind.CLIENT, attributes, links }, parent),
    )
  })
  subscriptions.on(tracing.batch.asyncEnd, end)

  subscriptions.on(tracing.gc.start, (message: GcMessage) => {
    const attributes = { 'db.system.name': 'postgresql', 'session_pgsql.server': message.server }
    // A root span: the active context is that of the request that set the timer, long ago.
    spans.set(message, tracer.startSpan('session gc', { attributes, root: true }))
  })
  subscriptions.on(tracing.gc.asyncEnd, (message: GcMessage) => {
    if (message.removed !== undefined) {
      spans.get(message)?.setAttribute('session_pgsql.gc.removed', message.removed)
    }
    end(message)
  })
  return subscriptions.stop
}
