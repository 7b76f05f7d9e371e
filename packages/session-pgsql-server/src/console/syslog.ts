import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { hostname } from 'node:os'
import type { AuditSink } from './audit.ts'

/** The facility "log audit" (13) and the severity "notice" (5). */
const PRIORITY = 13 * 8 + 5

/**
 * Sends each line of the audit log to a syslog server, over UDP (RFC 5424 and 5426). UDP may lose a line: the next line
 * that arrives shows the gap.
 *
 * @param log receives a message if a line cannot be sent
 */
export class SyslogSink {
  readonly #socket: ReturnType<typeof createSocket>
  readonly #target: { readonly host: string; readonly port: number }
  readonly #log: (message: string) => void
  /** Lines that wait for the socket or for the address of the host. */
  readonly #sending = new Set<Promise<void>>()

  constructor(host: string, port: number, log: (message: string) => void) {
    this.#target = { host, port }
    this.#log = log
    this.#socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    this.#socket.on('error', this.#report)
    this.#socket.unref()
  }

  readonly send: AuditSink = (line) => {
    const header = `<${PRIORITY}>1 ${new Date().toISOString()} ${hostname()} session-pgsql-console ${process.pid} - -`
    const { host, port } = this.#target
    const sending = new Promise<void>((resolve) => {
      this.#socket.send(`${header} ${line}`, port, host, (error) => {
        if (error) this.#report(error)
        this.#sending.delete(sending)
        resolve()
      })
    })
    this.#sending.add(sending)
  }

  /** Closes the socket after what was sent. */
  async close(): Promise<void> {
    await Promise.all(this.#sending)
    await new Promise<void>((resolve) => this.#socket.close(resolve))
  }

  readonly #report = (error: Error): void => {
    const { host, port } = this.#target
    this.#log(`cannot send to the syslog server ${host}:${port}: ${error.message}`)
  }
}
