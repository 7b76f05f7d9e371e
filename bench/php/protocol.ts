import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import type { Candidate } from '../compare.ts'

/** Measures the gateway and Redis without PHP: redis-benchmark sends the commands of phpredis over many connections. */

/** A PHP session of about 600 bytes. */
const DATA = `user|s:3:"ada";cart|a:10:{${Array.from(
  { length: 10 },
  (_, index) => `i:${index};a:2:{s:3:"sku";s:6:"A-1000";s:5:"count";i:1;}`,
).join('')}}visits|i:0;`

/** Digits of the number that `redis-benchmark` writes for `__rand_int__`. */
export const DIGITS = 12
const KEY = 'PHPSESSID:__rand_int__'

export const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  GET: ['GET', KEY],
  SETEX: ['SETEX', KEY, '1440', DATA],
  EXPIRE: ['EXPIRE', KEY, '1440'],
}

/** Stores all sessions, so that every read finds one. @param digits length of the ids */
export async function fill(port: number, sessions: number, digits: number): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port })
  for (let index = 0; index < sessions; index++) {
    const words = ['SETEX', `PHPSESSID:${String(index).padStart(digits, '0')}`, '1440', DATA]
    socket.write(
      `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`,
    )
  }
  let replies = ''
  for await (const chunk of socket) {
    replies += chunk
    if (replies.length >= sessions * '+OK\r\n'.length || replies.includes('-')) break
  }
  socket.destroy()
  if (replies !== '+OK\r\n'.repeat(sessions)) throw new Error(`Port ${port}: ${replies.slice(0, 200)}`)
}

/** Returns a candidate that sends one command with redis-benchmark. @param name of the server at this port */
export function commandCandidate(
  name: string,
  port: number,
  sessions: number,
  command: readonly string[],
): Candidate {
  // Number of commands that fill a slice, estimated from the previous slice.
  let count = 2000
  return {
    name,
    async run({ callers, milliseconds }) {
      const { stdout } = await promisify(execFile)('redis-benchmark', [
        ...['-p', String(port), '-c', String(callers), '-r', String(sessions), '-n', String(count), '--csv'],
        ...command,
      ])
      // Requests per second; then average, minimum, p50, p95, p99 and maximum in milliseconds.
      const [rate = 0, , , p50 = 0, , p99 = 0] = (/(?:"[\d.]+",?){7}\s*$/.exec(stdout)?.[0] ?? '')
        .split(',')
        .map((text) => Number(text.trim().slice(1, -1)))
      const calls = count
      if (rate > 0) count = Math.max(2000, Math.round((rate * milliseconds) / 1000))
      return {
        calls,
        failures: rate > 0 ? 0 : 1,
        firstFailure: rate > 0 ? undefined : stdout,
        milliseconds: (calls * 1000) / rate,
        p50,
        p99,
      }
    },
    async close() {},
  }
}
