import { readdirSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../../../session-pgsql/test/support/connect.ts'
import { fastCgi } from './fastcgi.ts'
import { listening, type Program, startProgram } from './program.ts'

/** The folder of the scripts that PHP runs. */
const SITE = fileURLToPath(new URL('../site', import.meta.url))

/** Lines of a php.ini. */
export type Ini = Readonly<Record<string, string | number>>

export interface PhpOptions {
  readonly ini: Ini
  /** What runs PHP's processes: php-cgi, which all test machines with PHP have, or php-fpm, as sites do. Default: cgi. */
  readonly by?: 'cgi' | 'fpm'
  /** Processes of PHP: the most requests that can overlap. Default: 4. */
  readonly workers?: number
  /** The folder of the scripts. */
  readonly root?: string
}

export interface PhpAnswer {
  readonly status: number
  /** In the order of the response. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly text: string
  /** The values of the header Set-Cookie. */
  readonly cookies: readonly string[]
}

export interface PhpRequest {
  readonly method?: 'GET' | 'POST'
  readonly query?: Readonly<Record<string, string | number>> | URLSearchParams
  readonly cookie?: string
  readonly body?: string
  /** The client's address. */
  readonly address?: string
  /** Milliseconds; default 60,000. */
  readonly timeout?: number
}

/** The php.ini for all save handlers: as PHP's php.ini-production, with all warnings in the output. */
const PLAIN: Ini = {
  display_errors: 1,
  html_errors: 0,
  log_errors: 0,
  error_reporting: 32767,
  'session.gc_probability': 0,
  'session.use_strict_mode': 0,
  'cgi.fix_pathinfo': 0,
  'opcache.enable': 0,
}

/** Real PHP: processes that serve requests, with a php.ini in a folder of their own. */
export class Php {
  readonly folder: string
  readonly #root: string
  readonly #port: number
  readonly #program: Program

  private constructor(folder: string, root: string, port: number, program: Program) {
    this.folder = folder
    this.#root = root
    this.#port = port
    this.#program = program
  }

  static async start({ ini, by = 'cgi', workers = 4, root = SITE }: PhpOptions): Promise<Php> {
    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-php-'))
    await writePhpIni(folder, ini)
    const port = await freePort()
    const program = await { cgi: startCgi, fpm: startFpm }[by](folder, port, workers)
    await listening(port, program)
    return new Php(folder, root, port, program)
  }

  async request(script: string, request: PhpRequest = {}): Promise<PhpAnswer> {
    const {
      method = 'GET',
      query = {},
      cookie = '',
      body = '',
      address = '192.0.2.1',
      timeout = 60_000,
    } = request
    const text = (
      query instanceof URLSearchParams ? query : new URLSearchParams(query as Record<string, string>)
    ).toString()
    const bytes = Buffer.from(body)
    const { output, errors } = await fastCgi(
      this.#port,
      {
        SCRIPT_FILENAME: join(this.#root, script),
        SCRIPT_NAME: `/${script}`,
        REQUEST_URI: `/${script}${text === '' ? '' : `?${text}`}`,
        QUERY_STRING: text,
        REQUEST_METHOD: method,
        REMOTE_ADDR: address,
        SERVER_PROTOCOL: 'HTTP/1.1',
        SERVER_NAME: 'localhost',
        HTTP_HOST: 'localhost',
        REDIRECT_STATUS: '200',
        ...(cookie === '' ? {} : { HTTP_COOKIE: cookie }),
        ...(method === 'POST'
          ? { CONTENT_TYPE: 'application/x-www-form-urlencoded', CONTENT_LENGTH: String(bytes.length) }
          : {}),
      },
      bytes,
      timeout,
    )
    if (errors !== '') throw new Error(`PHP: ${errors}`)
    return parse(output)
  }

  /** Returns a visitor without cookies. */
  visitor(address?: string): Visitor {
    return new Visitor(this, address)
  }

  async stop(): Promise<void> {
    await this.#program.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}

function startCgi(folder: string, port: number, workers: number): Promise<Program> {
  return startProgram(
    'php-cgi',
    ['-c', join(folder, 'php.ini'), '-b', `127.0.0.1:${port}`],
    // The children of a parent process; 0 requests: no limit.
    { env: { PHP_FCGI_CHILDREN: String(workers), PHP_FCGI_MAX_REQUESTS: '0' } },
  )
}

async function startFpm(folder: string, port: number, workers: number): Promise<Program> {
  const pool = join(folder, 'pool.conf')
  const lines = [
    '[global]',
    // The default is the system's log.
    `error_log = ${join(folder, 'fpm.log')}`,
    '[site]',
    `listen = 127.0.0.1:${port}`,
    'pm = static',
    `pm.max_children = ${workers}`,
  ]
  await writeFile(pool, `${lines.join('\n')}\n`)
  const isRoot = process.getuid?.() === 0
  return startProgram(phpFpm() ?? 'php-fpm', [
    ...['--php-ini', join(folder, 'php.ini'), '--fpm-config', pool, '--nodaemonize'],
    ...(isRoot ? ['--allow-to-run-as-root'] : []),
  ])
}

/** Returns the path of php-fpm: it is often not in PATH, and Debian adds its version to the name. undefined: there is none. */
export function phpFpm(): string | undefined {
  const folder = '/usr/sbin'
  const name = readdirSync(folder).find((name) => /^php-fpm[\d.]*$/.test(name))
  return name === undefined ? undefined : join(folder, name)
}

/** Writes a php.ini into the folder, and creates a folder for sessions in files. @returns the path of the php.ini */
export async function writePhpIni(folder: string, ini: Ini): Promise<string> {
  await mkdir(join(folder, 'sessions'), { recursive: true })
  const lines = Object.entries({ ...PLAIN, 'session.save_path': join(folder, 'sessions'), ...ini })
  const path = join(folder, 'php.ini')
  await writeFile(path, lines.map(([key, value]) => `${key} = "${value}"\n`).join(''))
  return path
}

function parse(output: Buffer): PhpAnswer {
  const text = output.toString()
  const end = text.indexOf('\r\n\r\n')
  const headers = text
    .slice(0, end)
    .split('\r\n')
    .map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).trim()]
    })
  const status = Number(headers.find(([name]) => name === 'Status')?.[1].slice(0, 3) ?? 200)
  const cookies = headers.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value)
  return { status, headers, text: text.slice(end + 4), cookies }
}

/** A user's browser: keeps cookies. */
export class Visitor {
  readonly cookies: Map<string, string> = new Map()
  readonly #php: Php
  readonly #address: string | undefined

  constructor(php: Php, address: string | undefined) {
    this.#php = php
    this.#address = address
  }

  async visit(script: string, request: PhpRequest = {}): Promise<PhpAnswer> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const address = this.#address === undefined ? {} : { address: this.#address }
    const answer = await this.#php.request(script, { cookie, ...address, ...request })
    for (const line of answer.cookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '' || value === 'deleted') this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return answer
  }

  /** Returns another browser with the same cookies. */
  clone(php: Php = this.#php): Visitor {
    const copy = new Visitor(php, this.#address)
    for (const [name, value] of this.cookies) copy.cookies.set(name, value)
    return copy
  }
}
