import type { IncomingMessage, ServerResponse } from 'node:http'
import { SessionPgsqlError } from 'session-pgsql'
import type { ApiFailure } from './api.ts'

/** What is refused, with the status that says so and words for the person who looks at the page. */
export class Refusal extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.status = status
    this.headers = headers
  }
}

/**
 * Nothing but what comes from the console itself, no frame around it, and nothing told to anybody else. The page
 * has no inline script or style, so that none that slips in is run.
 */
const GUARDS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** On every answer, whatever it is. */
export function guardAnswer(response: ServerResponse): void {
  for (const [name, value] of Object.entries(GUARDS)) response.setHeader(name, value)
}

/** @param body undefined: 204 */
export function answer(response: ServerResponse, body: unknown, status = 200): void {
  if (body === undefined) {
    response.writeHead(204, { 'cache-control': 'no-store' }).end()
    return
  }
  const text = Buffer.from(JSON.stringify(body))
  response
    .writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': text.length,
      'cache-control': 'no-store',
    })
    .end(text)
}

/**
 * Says what went wrong; of what was not foreseen nothing, that is for the log.
 *
 * @param someAnswer whether there are several servers, and one of them can be reached
 */
export function answerFailure(
  response: ServerResponse,
  error: unknown,
  log: (error: unknown) => void,
  someAnswer: () => boolean,
): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  if (error instanceof Refusal) {
    for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value)
    answer(response, { error: error.message } satisfies ApiFailure, error.status)
    return
  }
  if (error instanceof SessionPgsqlError) {
    const failure: ApiFailure = { error: error.message, code: error.code }
    if (ASKED_WRONGLY.has(error.code)) answer(response, failure, 400)
    else answer(response, someAnswer() ? { ...failure, partial: true } : failure, 503)
    return
  }
  log(error)
  answer(response, { error: 'The console has failed; its log says how.' } satisfies ApiFailure, 500)
}

const ASKED_WRONGLY: ReadonlySet<string> = new Set(['INVALID_ARGUMENT', 'INVALID_ID', 'INVALID_DATA'])

/** Most bytes of a request's body: a thousand of the longest ids. */
const MOST = 300_000

/** The body of a request as JSON: an object. */
export async function bodyOf(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  // A form of another site cannot send this type; a script of another site would have to ask first, in vain.
  if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? '')) {
    throw new Refusal(415, 'Expected the body to be application/json.')
  }
  const tooLarge = new Refusal(413, `Expected a body of at most ${MOST} bytes.`, { connection: 'close' })
  if (Number(request.headers['content-length'] ?? 0) > MOST) throw tooLarge
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    length += piece.length
    if (length > MOST) throw tooLarge
    pieces.push(piece)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(pieces).toString() || '{}')
  } catch {
    throw new Refusal(400, 'Expected the body to be JSON.')
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Refusal(400, 'Expected the body to be a JSON object.')
  }
  return body as Record<string, unknown>
}
