import type { IncomingMessage, ServerResponse } from 'node:http'
import { SessionPgsqlError } from 'session-pgsql'
import type { ApiError } from './api.ts'

/** Rejects a request with an HTTP status and a message for the user of the page. */
export class HttpError extends Error {
  readonly status: number
  /** Additional response headers. */
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.status = status
    this.headers = headers
  }
}

/**
 * The page loads only resources of the console, cannot be framed and sends no referrer. It has no inline script or
 * style, so the browser does not run one that an attacker injects.
 */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** Sets the headers that every response has, errors included. */
export function setSecurityHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value)
}

/** Sends the body as JSON, or 204 if it is undefined. */
export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
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
 * Sends an error as JSON. The message of an unexpected error goes to the log only, because it may hold internals.
 *
 * @param someServerUp whether there are several servers and at least one is up
 */
export function sendError(
  response: ServerResponse,
  error: unknown,
  log: (error: unknown) => void,
  someServerUp: () => boolean,
): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  if (error instanceof HttpError) {
    for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value)
    sendJson(response, { error: error.message } satisfies ApiError, error.status)
    return
  }
  if (error instanceof SessionPgsqlError) {
    const body: ApiError = { error: error.message, code: error.code }
    if (CLIENT_ERRORS.has(error.code)) sendJson(response, body, 400)
    else sendJson(response, someServerUp() ? { ...body, partial: true } : body, 503)
    return
  }
  log(error)
  sendJson(
    response,
    { error: 'The console failed to process the request. See its log for details.' } satisfies ApiError,
    500,
  )
}

const CLIENT_ERRORS: ReadonlySet<string> = new Set(['INVALID_ARGUMENT', 'INVALID_ID', 'INVALID_DATA'])

/** The maximum size of a request's body in bytes: a thousand of the longest ids. */
const MAX_BODY = 300_000

/**
 * Reads the body of a request, which must be a JSON object.
 *
 * @throws 400, 413 or 415
 */
export async function readJsonBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  // Another site's form cannot send this type, and another site's script needs a CORS preflight, which fails.
  if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? '')) {
    throw new HttpError(415, 'Expected a request body of type application/json.')
  }
  const tooLarge = new HttpError(413, `Expected a request body of at most ${MAX_BODY} bytes.`, {
    connection: 'close',
  })
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) throw tooLarge
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_BODY) throw tooLarge
    chunks.push(chunk)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(chunks).toString() || '{}')
  } catch {
    throw new HttpError(400, 'Expected the request body to be valid JSON.')
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new HttpError(400, 'Expected the request body to be a JSON object.')
  }
  return body as Record<string, unknown>
}
