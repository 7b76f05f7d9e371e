import { createHash } from 'node:crypto'

/** The sessions that every contestant keeps: the same ids, the same data. */

/** As express-session would store it. Counted up at every write, so that no two writes are of the same data. */
export interface SessionData {
  cookie: { originalMaxAge: number; expires: string; httpOnly: boolean; path: string }
  user: { id: number; name: string; roles: string[] }
  csrf: string
  views: number
  notes: string
}

const DAY = 86_400

/** The id of session number `n`, from 0. SQL can make it, too: `md5(n::text)`. */
export function sessionId(n: number): string {
  return createHash('md5').update(String(n)).digest('hex')
}

/** @param bytes how long it is as JSON; shorter ones than the frame itself are not to be had */
export function sessionData(n: number, bytes: number): SessionData {
  return JSON.parse(template(bytes).replaceAll(NUMBER, String(1_000_000 + n)))
}

/** Stands for 1,000,000 plus the session's number: the same length for all of them. */
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
  // Words rather than one letter over and over, for PostgreSQL compresses what is long.
  let notes = ''
  for (let n = 0; frame + notes.length < bytes; n++) {
    notes += `${createHash('md5')
      .update(`word ${n}`)
      .digest('hex')
      .slice(0, 4 + (n % 7))} `
  }
  return JSON.stringify({ ...data, notes: notes.slice(0, Math.max(0, bytes - frame)) })
}

/** An SQL expression for the data of session number `n`, a column; and its parameter, which is `$1`. */
export function sqlData(bytes: number): { expression: string; parameter: string } {
  return { expression: `replace($1, '${NUMBER}', (1000000 + n)::text)`, parameter: template(bytes) }
}

/** Numbers from 0 to below `limit`, the same ones for the same seed (mulberry32). */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * limit)
  }
}
