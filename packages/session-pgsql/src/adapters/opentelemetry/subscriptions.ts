import { type Channel, channel } from 'node:diagnostics_channel'
import type { DiagnosticsMessage, EventName } from '../../diagnostics.ts'
import { SessionPgsqlError } from '../../errors.ts'

/** What listens to one save handler, to be ended all at once. */
export class Subscriptions {
  readonly #handler: object
  readonly #stops: (() => void)[] = []

  constructor(handler: object) {
    this.#handler = handler
  }

  /** Listens to a channel, for the messages of this handler. */
  on<Message extends DiagnosticsMessage>(to: Channel, listener: (message: Message) => void): void {
    const hear = (message: unknown): void => {
      if (this.isOurs(message)) listener(message as Message)
    }
    to.subscribe(hear)
    this.add(() => to.unsubscribe(hear))
  }

  onEvent<Message extends object>(event: EventName, listener: (message: Message) => void): void {
    this.on<Message & DiagnosticsMessage>(channel(`session-pgsql:${event}`), listener)
  }

  isOurs(message: unknown): boolean {
    return (message as DiagnosticsMessage).handler === this.#handler
  }

  add(stop: () => void): void {
    this.#stops.push(stop)
  }

  readonly stop = (): void => {
    for (const stop of this.#stops.splice(0)) stop()
  }
}

/** OpenTelemetry's `error.type`: the code of an error of ours; the conventions' `_OTHER` for any other. */
export function errorType(error: unknown): string {
  return error instanceof SessionPgsqlError ? error.code : '_OTHER'
}
