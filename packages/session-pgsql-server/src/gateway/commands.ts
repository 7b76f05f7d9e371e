import { SessionPgsqlError } from 'session-pgsql'
import { isCodeIgniterLock } from './key.ts'
import { deleteConditionally, deleteIfEqual, evalScript, evalSha, lockRequestOf } from './lock-commands.ts'
import { errors, field, info, reset, setAddress, status } from './metadata-commands.ts'
import {
  array,
  bulk,
  CommandError,
  failure,
  integer,
  isFailure,
  NIL,
  OK,
  type Reply,
  SYNTAX_ERROR,
  simple,
} from './replies.ts'
import type { Command } from './request-parser.ts'
import {
  del,
  exists,
  expire,
  get,
  getAndExpire,
  MILLISECONDS,
  SECONDS,
  set,
  setWithLifetime,
  timeToLive,
} from './session-commands.ts'
import type { Shared, Visitor } from './visitor.ts'

/**
 * The commands of the gateway: all that phpredis sends for sessions, what Redis clients send to inspect a server, and
 * the gateway's own for the functions of session_pgsql:
 *
 * | command | reply |
 * |---|---|
 * | `SESSION.STATUS` | settings and servers, as JSON |
 * | `SESSION.INFO key` | the session without its data, as JSON; nil if there is none |
 * | `SESSION.FIELD key` | the custom field; nil if it is empty or there is no session |
 * | `SESSION.FIELD key value` | 1; 0 if the session is not stored yet, then the value is stored with its next write. An empty value clears the field |
 * | `SESSION.ERROR key` | the error counters and the last message, as JSON; nil if there is no session |
 * | `SESSION.ERROR key level [message]` | adds one to `error`, `warning` or `notice`: 1, or 0 as above |
 * | `SESSION.ADDRESS key address` | OK; the address is stored with the session's next write |
 * | `SESSION.RESET` | OK, after reconnecting to the database servers |
 */
interface CommandDefinition {
  /** Least and most arguments, without the command's name. */
  readonly arity: readonly [min: number, max: number]
  /** Also answered before the client has given the password. */
  readonly allowUnauthenticated?: true
  run(visitor: Visitor, args: readonly Buffer[]): Promise<Reply> | Reply
}

export const COMMANDS: Readonly<Record<string, CommandDefinition>> = {
  AUTH: { arity: [1, 2], allowUnauthenticated: true, run: auth },
  HELLO: { arity: [0, 16], allowUnauthenticated: true, run: hello },
  QUIT: { arity: [0, 0], allowUnauthenticated: true, run: quit },
  PING: { arity: [0, 1], run: ping },
  ECHO: { arity: [1, 1], run: (_visitor, [text]) => bulk(text as Buffer) },
  SELECT: { arity: [1, 1], run: select },
  CLIENT: { arity: [1, 64], run: client },
  COMMAND: { arity: [0, 1024], run: command },
  INFO: { arity: [0, 16], run: () => bulk(SERVER_INFO) },

  GET: { arity: [1, 1], run: get },
  GETEX: { arity: [1, 3], run: getAndExpire },
  SET: { arity: [2, 8], run: set },
  SETEX: { arity: [3, 3], run: (visitor, args) => setWithLifetime(visitor, args, SECONDS, 'setex') },
  PSETEX: { arity: [3, 3], run: (visitor, args) => setWithLifetime(visitor, args, MILLISECONDS, 'psetex') },
  EXPIRE: { arity: [2, 2], run: (visitor, args) => expire(visitor, args, SECONDS) },
  PEXPIRE: { arity: [2, 2], run: (visitor, args) => expire(visitor, args, MILLISECONDS) },
  // A session always expires. The reply says that nothing was changed.
  PERSIST: { arity: [1, 1], run: () => integer(0) },
  TTL: { arity: [1, 1], run: (visitor, args) => timeToLive(visitor, args, SECONDS) },
  PTTL: { arity: [1, 1], run: (visitor, args) => timeToLive(visitor, args, MILLISECONDS) },
  EXISTS: { arity: [1, 64], run: exists },
  DEL: { arity: [1, 64], run: del },
  UNLINK: { arity: [1, 64], run: del },

  EVALSHA: { arity: [4, 4], run: evalSha },
  EVAL: { arity: [4, 4], run: evalScript },
  DELIFEQ: { arity: [2, 2], run: deleteIfEqual },
  DELEX: { arity: [3, 3], run: deleteConditionally },

  'SESSION.STATUS': { arity: [0, 0], run: status },
  'SESSION.INFO': { arity: [1, 1], run: info },
  'SESSION.FIELD': { arity: [1, 2], run: field },
  'SESSION.ERROR': { arity: [1, 3], run: errors },
  'SESSION.ADDRESS': { arity: [2, 2], run: setAddress },
  'SESSION.RESET': { arity: [0, 0], run: reset },
}

/** In the metrics: the command is not served, or not to this client. */
const REFUSED = 'REFUSED'

const SERVER_INFO =
  '# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\nserver_name:session-pgsql-server\r\n'

/** Runs a command and records its duration. Never rejects: an error is the reply. */
export async function execute(visitor: Visitor, [first, ...args]: Command): Promise<Reply> {
  const name = first?.toString('latin1').toUpperCase() ?? ''
  const definition = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  const start = performance.now()
  let failed: string | undefined
  try {
    const reply = await dispatch(visitor, name, definition, args)
    if (!isFailure(reply)) return reply
    failed = REFUSED
    logFailure(visitor, name, args, reply)
    return afterFailure(visitor, name, args, reply)
  } catch (error) {
    failed =
      error instanceof SessionPgsqlError ? error.code : error instanceof CommandError ? REFUSED : '_OTHER'
    const reply = errorReply(error)
    logFailure(visitor, name, args, reply, error)
    return afterFailure(visitor, name, args, reply)
  } finally {
    const seconds = (performance.now() - start) / 1000
    visitor.shared.metrics.command(definition === undefined ? 'unknown' : name, seconds, failed)
  }
}

function errorReply(error: unknown): Reply {
  if (error instanceof CommandError) return failure(error.message)
  // The library's messages hold neither data nor ids nor passwords.
  if (error instanceof SessionPgsqlError) return failure(`ERR ${error.code} ${error.message}`)
  return failure('ERR internal error')
}

/** Errors that say nothing of a session. */
const NOT_LOGGED = ['NOAUTH', 'WRONGPASS', 'NOSCRIPT', 'NOPROTO']

/** Logs why a session was not read or written: PHP's warning does not tell. The messages hold no data. */
function logFailure(
  visitor: Visitor,
  name: string,
  args: readonly Buffer[],
  reply: Reply,
  error?: unknown,
): void {
  const [, reason, code] = /^-(?:ERR )?(([A-Z_]{4,}) .*)\r\n$/.exec(String(reply)) ?? []
  if (reason === undefined || NOT_LOGGED.includes(code as string)) return
  const { cause } = (error ?? {}) as { readonly cause?: unknown }
  visitor.logFailure(name, args[0], cause instanceof Error ? `${reason} (${cause.message})` : reason)
}

/**
 * Returns the reply to a command that failed. phpredis takes an error for a lock that another request holds, and asks for
 * it again, with `lock_retries = -1` for ever: no time limit of PHP ends that loop. So the reply is OK, and the error is
 * the reply to every command for that session until the client releases the lock.
 */
function afterFailure(visitor: Visitor, name: string, args: readonly Buffer[], error: Reply): Reply {
  const sessionKey = lockRequestOf(name, args)
  if (sessionKey !== undefined) {
    visitor.refuse(sessionKey, error)
    return OK
  }
  // phpredis throws an exception for any other code than ERR.
  return needsException(visitor, name, args) ? String(error).replace(/^-ERR (?=[A-Z_]+ )/, '-') : error
}

/**
 * Returns true if the client would take an error for something else: Laravel for an empty session, or a write that
 * succeeded; CodeIgniter for an empty session, or a lock that another request holds.
 */
function needsException(visitor: Visitor, name: string, args: readonly Buffer[]): boolean {
  if (visitor.shared.wantsExceptions) return true
  return name === 'GET' ? visitor.usesConnectionLocks : name === 'SET' && isCodeIgniterLock(String(args[0]))
}

function dispatch(
  visitor: Visitor,
  name: string,
  definition: CommandDefinition | undefined,
  args: readonly Buffer[],
): Promise<Reply> | Reply {
  if (!visitor.isAuthenticated && definition?.allowUnauthenticated !== true) {
    return failure('NOAUTH Authentication required.')
  }
  if (
    visitor.refusedDatabase !== undefined &&
    definition?.allowUnauthenticated !== true &&
    name !== 'SELECT'
  ) {
    return failure(`ERR ${NO_DATABASE}: SELECT ${visitor.refusedDatabase} failed before`)
  }
  const refusal = visitor.refusalOf(args[0])
  if (refusal !== undefined) return refusal
  if (definition === undefined) return failure(`ERR unknown command '${printable(name)}'`)
  const [min, max] = definition.arity
  if (args.length < min || args.length > max) {
    return failure(`ERR wrong number of arguments for '${name.toLowerCase()}' command`)
  }
  if (visitor.shared.touches?.waiting) sendTouches(visitor.shared, args)
  return definition.run(visitor, args)
}

/** Sends the touches that wait for sessions of this command, which the library then executes after them. */
function sendTouches({ touches, keys }: Shared, args: readonly Buffer[]): void {
  for (const arg of args) {
    const key = keys.find(arg)
    if (key !== undefined) touches?.send(key.id)
  }
}

function auth(visitor: Visitor, args: readonly Buffer[]): Reply {
  // A user name before the password is ignored.
  visitor.authenticate(args.at(-1) as Buffer)
  return OK
}

function hello(visitor: Visitor, [version, ...options]: readonly Buffer[]): Reply {
  if (version !== undefined && String(version) !== '2') {
    return failure('NOPROTO unsupported protocol version: expected 2')
  }
  for (let index = 0; index < options.length; index++) {
    const option = String(options[index]).toUpperCase()
    if (option === 'SETNAME') index++
    else if (option === 'AUTH' && options[index + 2] !== undefined) {
      index += 2
      visitor.authenticate(options[index] as Buffer)
    } else return SYNTAX_ERROR
  }
  if (!visitor.isAuthenticated) {
    return failure('NOAUTH HELLO must be called with the client already authenticated, or with AUTH')
  }
  return array([
    ...['server', 'session-pgsql-server', 'version', '7.0.0', 'proto'].map((text) => bulk(text)),
    integer(2),
    ...['mode', 'standalone', 'role', 'master', 'modules'].map((text) => bulk(text)),
    array([]),
  ])
}

function quit(visitor: Visitor): Reply {
  visitor.quit()
  return OK
}

/** Answers only if the database does: a gateway without its database cannot serve. */
async function ping({ shared }: Visitor, [text]: readonly Buffer[]): Promise<Reply> {
  await shared.ping()
  return text === undefined ? simple('PONG') : bulk(text)
}

const NO_DATABASE =
  'there is only database 0. Remove database= from session.save_path, and separate sites by a table for each'

/**
 * phpredis ignores an error here, and would read the sessions of database 0. A code other than ERR makes it throw, and
 * every later command fails.
 */
function select(visitor: Visitor, [index]: readonly Buffer[]): Reply {
  const database = printable(String(index))
  visitor.refusedDatabase = database === '0' ? undefined : database
  return database === '0' ? OK : failure(`NODB ${NO_DATABASE}`)
}

function client(_visitor: Visitor, [subcommand]: readonly Buffer[]): Reply {
  switch (String(subcommand).toUpperCase()) {
    case 'SETNAME':
    case 'SETINFO':
    case 'NO-EVICT':
    case 'NO-TOUCH':
      return OK
    case 'GETNAME':
      return NIL
    case 'ID':
      return integer(1)
    default:
      return failure('ERR unknown subcommand of CLIENT')
  }
}

function command(_visitor: Visitor, [subcommand]: readonly Buffer[]): Reply {
  return subcommand?.toString().toUpperCase() === 'COUNT' ? integer(Object.keys(COMMANDS).length) : array([])
}

function printable(text: string): string {
  return text.slice(0, 32).replaceAll(/[^\x20-\x7e]/g, '?')
}
