import { type Channel, channel } from 'node:diagnostics_channel'
import type { DiagnosticsMessage, EventName } from '../../diagnostics.ts'
import { SessionPgsqlError } from '../../errors.ts'

/** The listeners to one save handler, which stop together. */
export class Subscriptions {
  readonly #handler: object
  readonly #stops: (() => void)[] = []

  constructor(handler: object) {
    this.#handler = handler
  }

  /** Subscribes to this handler's messages on a channel. */
  on<Message extends DiagnosticsMessage>(to: Channel, listener: (message: Message) => void): void {
    const receive = (message: unknown): void => {
      if (this.isOurs(message)) listener(message as Message)
    }
    to.subscribe(receive)
    this.add(() => to.unsubscribe(receive))
  }

  onEvent<Message extends object>(event: EventName, listener: (message: Message) => void): void {
    this.on<Message & DiagnosticsMessage>(channel(`session-pgsql:${event}`), listener)
  }

  /** Returns true if the message is of this handler. */
  isOurs(message: unknown): boolean {
    return (message as DiagnosticsMessage).handler === this.#handler
  }

  /** Adds a function to call when the listeners stop. */
  add(stop: () => void): void {
    this.#stops.push(stop)
  }

  readonly stop = (): void => {
    for (const stop of this.#stops.splice(0)) stop()
  }
}

/** Returns OpenTelemetry's `error.type`: the code of a SessionPgsqlError, or the conventions' `_OTHER`. */
export function errorType(error: unknown): string {
  return error instanceof SessionPgsqlError ? error.code : '_OTHER'
}
