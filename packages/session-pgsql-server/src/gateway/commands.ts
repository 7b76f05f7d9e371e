import { createHash } from 'node:crypto'
import { SessionPgsqlError } from 'session-pgsql'
import type { Client } from './connection.ts'
import { type Key, keyOf } from './key.ts'
import { MOST_LOCKS } from './locks.ts'
import { nothingRead, sessionRead, WrittenSession } from './reads.ts'
import { array, bulk, failure, integer, NIL, OK, type Reply, simple } from './replies.ts'

/**
 * What is answered: all that phpredis sends for sessions, what a client says to get to know a server, and
 * commands of our own for session_pgsql's functions.
 *
 * | own command | answer |
 * |---|---|
 * | `SESSION.STATUS` | settings and servers, as JSON |
 * | `SESSION.INFO key` | the session without its data, as JSON; nil if there is none |
 * | `SESSION.FIELD key` | the custom field; nil if it is empty or there is no session |
 * | `SESSION.FIELD key value` | 1, or 0 if the session is not stored yet: then it is with its next write. An empty value empties the field |
 * | `SESSION.ERROR key` | the error counters and the last message, as JSON; nil if there is no session |
 * | `SESSION.ERROR key level [message]` | adds one to `error`, `warning` or `notice`: 1, or 0 as above |
 * | `SESSION.ADDRESS key address` | OK; the address is kept with the session's next write |
 * | `SESSION.RESET` | OK, when the connections to the database were made anew |
 */
export interface Served {
  /** Least and most arguments. */
  readonly count: readonly [number, number]
  /** Whether also those may say it who have not given the password. */
  readonly forStrangers?: true
  run(client: Client, given: readonly Buffer[]): Promise<Reply> | Reply
}

/** What the client did wrong, told as an answer. The message begins with a code, as Redis' do. */
export class CommandError extends Error {}

const SYNTAX = 'ERR syntax error'

/** phpredis' script for giving back a lock: deletes the key if its value is the owner's secret. */
const UNLOCK_SCRIPT = 'b70c2384248f88e6b75b9f89241a180f856ad852'

/** The ids that can be stored: the seed's rule, as the setting `idPattern: 'php'` has it. */
const PHP_ID = /^[A-Za-z0-9,_-]{1,256}$/
const NO_ID = 'ERR INVALID_ID This cannot be the id of a session'

/** Most bytes of a key, and of the secret of a lock; most characters of an address: all of them are remembered. */
const MOST_KEY = 1024
const MOST_ADDRESS = 256

export const COMMANDS: Readonly<Record<string, Served>> = {
  AUTH: {
    count: [1, 2],
    forStrangers: true,
    run: (client, given) =>
      client.authenticate(given.at(-1) as Buffer)
        ? OK
        : failure('WRONGPASS invalid username-password pair or user is disabled.'),
  },
  HELLO: { count: [0, 16], forStrangers: true, run: hello },
  QUIT: {
    count: [0, 0],
    forStrangers: true,
    run: (client) => {
      client.quit()
      return OK
    },
  },
  PING: {
    count: [0, 1],
    // A server whose database is away is of no use to whoever asks.
    async run({ shared }, [text]) {
      await shared.ping()
      return text === undefined ? simple('PONG') : bulk(text)
    },
  },
  ECHO: { count: [1, 1], run: (_client, [text]) => bulk(text as Buffer) },
  SELECT: {
    count: [1, 1],
    run: (_client, [index]) =>
      String(index) === '0' ? OK : failure('ERR DB index is out of range: there is one, 0'),
  },
  CLIENT: { count: [1, 64], run: clientCommand },
  COMMAND: {
    count: [0, 1024],
    run: (_client, [what]) =>
      what?.toString().toUpperCase() === 'COUNT' ? integer(Object.keys(COMMANDS).length) : array([]),
  },
  INFO: {
    count: [0, 16],
    run: () =>
      bulk(
        '# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\nserver_name:session-pgsql-server\r\n',
      ),
  },

  GET: { count: [1, 1], run: (client, [key]) => get(client, keyIn(key)) },
  GETEX: { count: [1, 3], run: getAndTouch },
  SET: { count: [2, 8], run: set },
  SETEX: {
    count: [3, 3],
    run: (client, [key, seconds, data]) =>
      write(client, keyIn(key), secondsIn(seconds, 1, 'setex'), data as Buffer),
  },
  PSETEX: {
    count: [3, 3],
    run: (client, [key, milliseconds, data]) =>
      write(client, keyIn(key), secondsIn(milliseconds, 1000, 'psetex'), data as Buffer),
  },
  EXPIRE: {
    count: [2, 2],
    run: async (client, [key, seconds]) => integer(await touch(client, keyIn(key), seconds, 1)),
  },
  PEXPIRE: {
    count: [2, 2],
    run: async (client, [key, milliseconds]) => integer(await touch(client, keyIn(key), milliseconds, 1000)),
  },
  // A session always expires; of one that is there, nothing is changed.
  PERSIST: { count: [1, 1], run: () => integer(0) },
  TTL: { count: [1, 1], run: async (client, [key]) => integer(await timeLeft(client, keyIn(key), 1)) },
  PTTL: { count: [1, 1], run: async (client, [key]) => integer(await timeLeft(client, keyIn(key), 1000)) },
  EXISTS: { count: [1, 64], run: (client, keys) => countOf(keys, (key) => exists(client, key)) },
  DEL: { count: [1, 64], run: (client, keys) => countOf(keys, (key) => remove(client, key)) },
  UNLINK: { count: [1, 64], run: (client, keys) => countOf(keys, (key) => remove(client, key)) },

  EVALSHA: {
    count: [4, 4],
    run: (client, [sha, , key, owner]) =>
      String(sha).toLowerCase() === UNLOCK_SCRIPT
        ? unlock(client, keyIn(key), owner)
        : failure('NOSCRIPT No matching script. Please use EVAL.'),
  },
  EVAL: {
    count: [4, 4],
    run: (client, [script, , key, owner]) =>
      createHash('sha1')
        .update(script as Buffer)
        .digest('hex') === UNLOCK_SCRIPT
        ? unlock(client, keyIn(key), owner)
        : failure('ERR no script is served but that with which phpredis gives back a lock'),
  },
  DELIFEQ: { count: [2, 2], run: (client, [key, owner]) => unlock(client, keyIn(key), owner) },
  DELEX: {
    count: [3, 3],
    run: (client, [key, how, owner]) =>
      String(how).toUpperCase() === 'IFEQ' ? unlock(client, keyIn(key), owner) : failure(SYNTAX),
  },

  'SESSION.STATUS': {
    count: [0, 0],
    run: ({ shared }) => bulk(JSON.stringify(shared.sessions.status())),
  },
  'SESSION.INFO': {
    count: [1, 1],
    run: async ({ shared }, [key]) => jsonOrNil(await shared.sessions.info(keyIn(key).id)),
  },
  'SESSION.FIELD': { count: [1, 2], run: field },
  'SESSION.ERROR': { count: [1, 3], run: errors },
  'SESSION.ADDRESS': {
    count: [2, 2],
    run({ shared: { notes } }, [key, address]) {
      const { text } = sessionKeyIn(key)
      const told = String(address)
      // What cannot be stored would make every write of this session fail.
      if (told.length > MOST_ADDRESS || told.includes('\0')) {
        return failure(`ERR expected an address of at most ${MOST_ADDRESS} characters`)
      }
      notes.set(text, { address: told })
      return OK
    },
  },
  'SESSION.RESET': {
    count: [0, 0],
    async run({ shared }) {
      await shared.sessions.reset()
      return OK
    },
  },
}

async function get(client: Client, key: Key): Promise<Reply> {
  if (key.isLock) {
    const owner = await client.shared.locks.owner(key.id)
    return owner === undefined ? NIL : bulk(owner)
  }
  // As the handler `files` has it: what could never be written is no empty session either.
  if (!PHP_ID.test(key.id)) return failure(NO_ID)
  const base = await client.shared.sessions.read(key.id)
  client.hasRead = performance.now()
  if (base === undefined) {
    client.reads.set(key.text, nothingRead(key.text))
    return NIL
  }
  const bytes = client.shared.php.encode(base.data)
  client.reads.set(key.text, sessionRead(base, bytes))
  return bulk(bytes)
}

async function getAndTouch(client: Client, [name, how, amount]: readonly Buffer[]): Promise<Reply> {
  const key = keyIn(name)
  const unit = { EX: 1, PX: 1000 }[String(how ?? 'EX').toUpperCase()]
  if (unit === undefined || (how === undefined) !== (amount === undefined)) return failure(SYNTAX)
  const answer = await get(client, key)
  if (amount !== undefined && answer !== NIL) await touch(client, key, amount, unit)
  return answer
}

/** @param when NX: it must be absent, else CONFLICT; XX: it must be there */
async function write(
  client: Client,
  key: Key,
  lifetime: number | undefined,
  bytes: Buffer,
  when?: 'NX' | 'XX',
): Promise<Reply> {
  if (key.isLock) return failure('ERR a lock is taken by SET with NX')
  const { sessions, notes } = client.shared
  client.hasRead = undefined
  const known = when === 'NX' ? undefined : client.known(key)
  const note = notes.get(key.text)
  const base = when === 'NX' ? null : when === 'XX' ? (known?.base ?? 'existing') : known?.base
  const result = await sessions.write(key.id, client.shared.php.decode(bytes), {
    base,
    conflict: when === 'NX' ? 'error' : undefined,
    seen: known?.seen,
    lifetime,
    name: key.name,
    address: note?.address,
    custom: note?.custom,
    errors: note?.errors,
    access: known?.counted !== true,
  })
  // What was noted while this was written belongs to the next.
  if (notes.get(key.text) === note) notes.delete(key.text)
  // Gone: it stays what it was, so that what this client writes next is discarded too. It is not an error.
  if (result.outcome === 'gone') {
    if (when === 'XX') return NIL
  } else {
    const { session } = result
    const stored =
      result.outcome === 'merged' && session !== undefined ? client.shared.php.encode(session.data) : bytes
    client.reads.set(key.text, new WrittenSession(result, bytes, stored))
  }
  return OK
}

/** `SET key data [EX seconds | PX milliseconds] [NX | XX]`: of a lock, NX takes it. */
async function set(client: Client, [name, data, ...rest]: readonly Buffer[]): Promise<Reply> {
  const key = keyIn(name)
  let seconds: number | undefined
  let when: 'NX' | 'XX' | undefined
  for (let index = 0; index < rest.length; index++) {
    const word = String(rest[index]).toUpperCase()
    if ((word === 'NX' || word === 'XX') && when === undefined) when = word
    else if ((word === 'EX' || word === 'PX') && seconds === undefined) {
      seconds = secondsIn(rest[++index], word === 'EX' ? 1 : 1000, 'set')
    } else return failure(SYNTAX)
  }
  if (key.isLock) {
    if (when !== 'NX') return failure('ERR a lock is taken by SET with NX')
    if ((data as Buffer).length > MOST_KEY)
      return failure(`ERR the secret of a lock has at most ${MOST_KEY} bytes`)
    if (client.shared.locks.isFull(client))
      return failure(`ERR a connection holds at most ${MOST_LOCKS} locks`)
    const lifetime = seconds ?? Number.POSITIVE_INFINITY
    const taken = await client.shared.locks.take(key.id, String(data), lifetime, client)
    client.shared.figures.lockRequest(taken)
    return taken ? OK : NIL
  }
  if (when !== undefined && (await client.shared.sessions.validateId(key.id)) !== (when === 'XX')) return NIL
  try {
    return await write(client, key, seconds, data as Buffer, when)
  } catch (error) {
    // It has come since that look.
    if (when === 'NX' && error instanceof SessionPgsqlError && error.code === 'CONFLICT') return NIL
    throw error
  }
}

/** @returns 1, or 0 if there is no such session */
async function touch(client: Client, key: Key, amount: Buffer | undefined, unit: number): Promise<0 | 1> {
  if (key.isLock) throw new CommandError('ERR a lock is prolonged by itself')
  const seconds = integerIn(amount) / unit
  if (seconds <= 0) return (await remove(client, key)) ? 1 : 0
  client.hasRead = undefined
  const known = client.known(key)
  const touched = await client.shared.sessions.touch(key.id, {
    lifetime: seconds,
    base: known?.base ?? undefined,
    access: known?.counted !== true,
  })
  if (touched && known !== undefined) known.counted = true
  return touched ? 1 : 0
}

/** As Redis has it: -2 if there is none, -1 if it does not expire. */
async function timeLeft({ shared: { sessions } }: Client, key: Key, unit: number): Promise<number> {
  if (key.isLock) return (await sessions.lockOwner(key.id)) === undefined ? -2 : -1
  const session = await sessions.read(key.id)
  if (session === undefined) return -2
  if (session.expires === null) return -1
  const milliseconds = session.expires.getTime() - Date.now() - session.clockAhead
  return Math.max(0, Math.ceil((milliseconds / 1000) * unit))
}

async function exists({ shared: { sessions } }: Client, key: Key): Promise<boolean> {
  return key.isLock ? (await sessions.lockOwner(key.id)) !== undefined : sessions.validateId(key.id)
}

async function remove(client: Client, key: Key): Promise<boolean> {
  const { sessions, locks, notes } = client.shared
  if (!key.isLock) {
    client.hasRead = undefined
    notes.delete(key.text)
    return sessions.destroy(key.id)
  }
  const owner = await sessions.lockOwner(key.id)
  return owner !== undefined && (await locks.release(key.id, owner))
}

async function unlock(client: Client, key: Key, owner: Buffer | undefined): Promise<Reply> {
  if (!key.isLock) return failure('ERR expected the key of a lock, which ends in _LOCK')
  return integer((await client.shared.locks.release(key.id, String(owner))) ? 1 : 0)
}

async function countOf(keys: readonly Buffer[], test: (key: Key) => Promise<boolean>): Promise<Reply> {
  let count = 0
  for (const key of keys) if (await test(keyIn(key))) count++
  return integer(count)
}

async function field({ shared }: Client, [name, value]: readonly Buffer[]): Promise<Reply> {
  const { sessions, notes } = shared
  const { id, text: key } = sessionKeyIn(name)
  if (value === undefined) {
    const custom = notes.get(key)?.custom ?? (await sessions.getField(id))
    return custom == null ? NIL : bulk(custom)
  }
  const custom = value.length === 0 ? null : String(value)
  if (await sessions.setField(id, custom)) return integer(1)
  // PHP stores a new session at the end of the request that makes it.
  notes.set(key, { custom })
  return integer(0)
}

async function errors({ shared }: Client, [name, level, message]: readonly Buffer[]): Promise<Reply> {
  const { sessions, notes } = shared
  const { id, text: key } = sessionKeyIn(name)
  if (level === undefined) {
    const stored = await sessions.getErrors(id)
    const noted = notes.get(key)?.errors
    return jsonOrNil(stored ?? (noted && { errors: 0, warnings: 0, notices: 0, message: null, ...noted }))
  }
  const [kind, text] = [String(level), message && String(message)]
  if (kind !== 'error' && kind !== 'warning' && kind !== 'notice') {
    return failure('ERR expected the level error, warning or notice')
  }
  if (await sessions.addError(id, kind, text)) return integer(1)
  notes.addError(key, kind, text)
  return integer(0)
}

function hello(client: Client, [version, ...rest]: readonly Buffer[]): Reply {
  if (version !== undefined && String(version) !== '2') {
    return failure('NOPROTO unsupported protocol version; 2 is spoken here')
  }
  for (let index = 0; index < rest.length; index++) {
    const word = String(rest[index]).toUpperCase()
    if (word === 'SETNAME') index++
    else if (word === 'AUTH' && rest[index + 2] !== undefined) {
      index += 2
      if (!client.authenticate(rest[index] as Buffer)) {
        return failure('WRONGPASS invalid username-password pair or user is disabled.')
      }
    } else return failure(SYNTAX)
  }
  if (!client.welcome) {
    return failure('NOAUTH HELLO must be called with the client already authenticated, or with AUTH')
  }
  return array([
    ...['server', 'session-pgsql-server', 'version', '7.0.0', 'proto'].map((text) => bulk(text)),
    integer(2),
    ...['mode', 'standalone', 'role', 'master', 'modules'].map((text) => bulk(text)),
    array([]),
  ])
}

function clientCommand(_client: Client, [what]: readonly Buffer[]): Reply {
  switch (String(what).toUpperCase()) {
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

function jsonOrNil(value: unknown): Reply {
  return value === undefined ? NIL : bulk(JSON.stringify(value))
}

function keyIn(bytes: Buffer | undefined): Key {
  if (bytes !== undefined && bytes.length > MOST_KEY) {
    throw new CommandError(`ERR a key has at most ${MOST_KEY} bytes`)
  }
  // An id is ASCII; what is not becomes something that no id matches.
  return keyOf(String(bytes))
}

/** The key of a session of which something is to be noted. */
function sessionKeyIn(bytes: Buffer | undefined): Key {
  const key = keyIn(bytes)
  if (key.isLock || !PHP_ID.test(key.id)) throw new CommandError(NO_ID)
  return key
}

function integerIn(bytes: Buffer | undefined): number {
  const text = String(bytes)
  if (!/^-?\d{1,15}$/.test(text)) throw new CommandError('ERR value is not an integer or out of range')
  return Number(text)
}

function secondsIn(bytes: Buffer | undefined, unit: number, command: string): number {
  const amount = integerIn(bytes)
  if (amount <= 0) throw new CommandError(`ERR invalid expire time in '${command}' command`)
  return amount / unit
}
