import { createHash } from 'node:crypto'

/** The sessions of every store: the same ids and the same data. */

/** The data as express-session stores it. Each write increases `views`, so that no two writes have the same data. */
export interface SessionData {
  cookie: { originalMaxAge: number; expires: string; httpOnly: boolean; path: string }
  user: { id: number; name: string; roles: string[] }
  csrf: string
  views: number
  notes: string
}

const DAY = 86_400

/** Returns the id of session number `n`, from 0. In SQL it is `md5(n::text)`. */
export function sessionId(n: number): string {
  return createHash('md5').update(String(n)).digest('hex')
}

/** Returns the data of session number `n`. @param bytes its length as JSON, if that is at least the fixed part */
export function sessionData(n: number, bytes: number): SessionData {
  return JSON.parse(template(bytes).replaceAll(NUMBER, String(1_000_000 + n)))
}

/** Placeholder for 1,000,000 plus the session's number, which has the same length for all sessions. */
const NUMBER = '9999999'

function template(bytes: number): string {
  const data: SessionData = {
    cookie: {
      originalMaxAge: DAY * 1000,
      expires: new Date(Math.ceil(Date.now() / 1000 + DAY) * 1000).toISOString(),
      httpOnly: true,
      path: '/',
    },
    user: { id: Number(NUMBER), name: `Visitor ${NUMBER}`, roles: ['reader', 'author'] },
    csrf: createHash('sha256').update('csrf').digest('base64url'),
    views: 1,
    notes: '',
  }
  const frame = JSON.stringify(data).length
  // Different words, because PostgreSQL compresses long values.
  let notes = ''
  for (let n = 0; frame + notes.length < bytes; n++) {
    notes += `${createHash('md5')
      .update(`word ${n}`)
      .digest('hex')
      .slice(0, 4 + (n % 7))} `
  }
  return JSON.stringify({ ...data, notes: notes.slice(0, Math.max(0, bytes - frame)) })
}

/** Returns an SQL expression for the data of session number `n` (a column), and the parameter `$1` of it. */
export function sqlData(bytes: number): { expression: string; parameter: string } {
  return { expression: `replace($1, '${NUMBER}', (1000000 + n)::text)`, parameter: template(bytes) }
}

/** Returns a generator of numbers from 0 to below `limit`, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * limit)
  }
}
