import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { HttpError } from './responses.ts'

/** The folder of the built page, dist/console/, relative to src/console/ or dist/esm/console/. */
export const PAGE_FOLDER: string = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../dist/console/' : '../../console/', import.meta.url),
)

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
  '.txt': 'text/plain; charset=utf-8',
}

const MISSING = `<!doctype html><html lang="en"><meta charset="utf-8"><title>session-pgsql console</title>
<h1>The page is not built</h1>
<p>The console is running, but dist/console is missing. Build it with <code>npm run build</code>. The API under /api is available.</p></html>
`

interface File {
  readonly type: string
  readonly body: Buffer
  readonly gzipped: Buffer | undefined
  readonly etag: string
  /** Whether its name contains a hash of its content. */
  readonly immutable: boolean
}

/**
 * Serves the page's files, which are read once. A request's path is only a key in the map of these files, so a client
 * cannot reach any other file.
 */
export class Page {
  readonly #files = new Map<string, File>()

  constructor(folder: string = PAGE_FOLDER) {
    for (const name of filesIn(folder)) {
      const type = TYPES[extname(name)]
      if (type !== undefined)
        this.#files.set(`/${name}`, fileOf(readFileSync(`${folder}/${name}`), type, name))
    }
    const index = this.#files.get('/index.html')
    this.#files.set('/', index ?? fileOf(Buffer.from(MISSING), TYPES['.html'] as string, ''))
  }

  /** False if there is only a placeholder that says how to build the page. */
  get isBuilt(): boolean {
    return this.#files.has('/index.html')
  }

  /** @throws 404, 405 */
  send(path: string, request: IncomingMessage, response: ServerResponse): void {
    const file = this.#files.get(path)
    if (file === undefined) throw new HttpError(404, 'Not found.')
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new HttpError(405, 'Expected the method GET or HEAD.', { allow: 'GET, HEAD' })
    }
    response.setHeader('etag', file.etag)
    response.setHeader('vary', 'accept-encoding')
    response.setHeader('cache-control', file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache')
    if (request.headers['if-none-match'] === file.etag) {
      response.writeHead(304).end()
      return
    }
    const gzipped = /\bgzip\b/.test(String(request.headers['accept-encoding'])) ? file.gzipped : undefined
    if (gzipped !== undefined) response.setHeader('content-encoding', 'gzip')
    const body = gzipped ?? file.body
    response.writeHead(200, { 'content-type': file.type, 'content-length': body.length })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

/** Returns the paths of all files below the folder, relative to it. */
function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) =>
        `${entry.parentPath}/${entry.name}`.slice(folder.length).replaceAll('\\', '/').replace(/^\/+/, ''),
      )
  } catch {
    return []
  }
}

function fileOf(body: Buffer, type: string, name: string): File {
  const gzipped = /text|javascript|svg|json/.test(type) && body.length > 1000 ? gzipSync(body) : undefined
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 22)
  return { body, type, gzipped, etag: `"${hash}"`, immutable: /^assets\/.+-[\w-]{8,}\.\w+$/.test(name) }
}
