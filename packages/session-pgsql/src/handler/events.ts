import type { EventEmitter } from 'node:events'
import { announce } from '../diagnostics.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { SaveHandlerEvents } from '../operations.ts'
import type { Logger } from '../settings/settings.ts'

/** Delivers a handler's events to its listeners and to the diagnostics channels. */
export class Events {
  readonly #handler: EventEmitter<SaveHandlerEvents>
  readonly #logger: Logger
  /** Codes of the errors that were logged. */
  readonly #logged = new Set<unknown>()

  constructor(handler: EventEmitter<SaveHandlerEvents>, logger: Logger) {
    this.#handler = handler
    this.#logger = logger
  }

  /** Emits an event. A listener that throws must not fail the operation that the event is about. */
  emit<E extends Exclude<keyof SaveHandlerEvents, 'error'>>(
    event: E,
    ...[about]: SaveHandlerEvents[E]
  ): void {
    announce(this.#handler, event, about)
    try {
      // The compiler does not see that an event and its argument belong together.
      const emitter: EventEmitter = this.#handler as unknown as EventEmitter
      emitter.emit(event, about)
    } catch (error) {
      this.report(error as Error)
    }
  }

  /** Reports an error of background work, which no caller waits for. Without a listener the first of each code is logged. */
  report(error: Error): void {
    announce(this.#handler, 'error', { error })
    if (this.#handler.listenerCount('error') > 0) {
      this.#handler.emit('error', error)
      return
    }
    const code = error instanceof SessionPgsqlError ? error.code : error.name
    if (!this.#logged.has(code)) {
      this.#logged.add(code)
      this.#logger.error(
        'Background work failed. Listen to the event "error" to receive further errors.',
        error,
      )
    }
  }
}
