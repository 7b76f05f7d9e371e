import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { Refusal } from './answers.ts'

/** Where the build has put the page: beside the program, whether that runs from src/ or from dist/esm/. */
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
<h1>The page has not been built</h1>
<p>The console runs, but dist/console is missing. Build it with <code>npm run build</code>. The API is under /api.</p></html>
`

interface File {
  readonly type: string
  readonly body: Buffer
  readonly zipped: Buffer | undefined
  readonly tag: string
  /** Its name holds a hash of what is in it. */
  readonly immutable: boolean
}

/**
 * The files of the page, read once. What is asked for is looked up among their names and never becomes a path:
 * nothing else on the disk can be reached.
 */
export class Page {
  readonly #files = new Map<string, File>()

  constructor(folder: string = PAGE_FOLDER) {
    for (const name of namesIn(folder)) {
      const type = TYPES[extname(name)]
      if (type !== undefined)
        this.#files.set(`/${name}`, fileOf(readFileSync(`${folder}/${name}`), type, name))
    }
    const index = this.#files.get('/index.html')
    this.#files.set('/', index ?? fileOf(Buffer.from(MISSING), TYPES['.html'] as string, ''))
  }

  /** Whether there is a page, and not only words on how to build it. */
  get isBuilt(): boolean {
    return this.#files.has('/index.html')
  }

  send(path: string, request: IncomingMessage, response: ServerResponse): void {
    const file = this.#files.get(path)
    if (file === undefined) throw new Refusal(404, 'There is nothing here.')
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new Refusal(405, 'Expected GET.', { allow: 'GET, HEAD' })
    }
    response.setHeader('etag', file.tag)
    response.setHeader('vary', 'accept-encoding')
    response.setHeader('cache-control', file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache')
    if (request.headers['if-none-match'] === file.tag) {
      response.writeHead(304).end()
      return
    }
    const zipped = /\bgzip\b/.test(String(request.headers['accept-encoding'])) ? file.zipped : undefined
    if (zipped !== undefined) response.setHeader('content-encoding', 'gzip')
    const body = zipped ?? file.body
    response.writeHead(200, { 'content-type': file.type, 'content-length': body.length })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

function namesIn(folder: string): string[] {
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
  const zipped = /text|javascript|svg|json/.test(type) && body.length > 1000 ? gzipSync(body) : undefined
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 22)
  return { body, type, zipped, tag: `"${hash}"`, immutable: /^assets\/.+-[\w-]{8,}\.\w+$/.test(name) }
}
