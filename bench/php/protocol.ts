import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import type { Racer } from '../race.ts'

/** The two servers without PHP: Redis' own program for measuring sends what phpredis sends, over many connections. */

/** A session as PHP has it, of about 600 bytes. */
const DATA = `user|s:3:"ada";cart|a:10:{${Array.from(
  { length: 10 },
  (_, index) => `i:${index};a:2:{s:3:"sku";s:6:"A-1000";s:5:"count";i:1;}`,
).join('')}}visits|i:0;`

/** `redis-benchmark` puts a number of so many digits there. */
export const DIGITS = 12
const KEY = 'PHPSESSID:__rand_int__'

export const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  GET: ['GET', KEY],
  SETEX: ['SETEX', KEY, '1440', DATA],
  EXPIRE: ['EXPIRE', KEY, '1440'],
}

/** Stores all sessions, so that none is asked for in vain. @param digits of their ids */
export async function fill(port: number, sessions: number, digits: number): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port })
  for (let index = 0; index < sessions; index++) {
    const words = ['SETEX', `PHPSESSID:${String(index).padStart(digits, '0')}`, '1440', DATA]
    socket.write(
      `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`,
    )
  }
  let answers = ''
  for await (const chunk of socket) {
    answers += chunk
    if (answers.length >= sessions * '+OK\r\n'.length || answers.includes('-')) break
  }
  socket.destroy()
  if (answers !== '+OK\r\n'.repeat(sessions)) throw new Error(`Port ${port}: ${answers.slice(0, 200)}`)
}

/** @param name of the server at this port */
export function commands(name: string, port: number, sessions: number, command: readonly string[]): Racer {
  // How many commands fill a slice: learnt from the slice before.
  let count = 2000
  return {
    name,
    async run({ callers, milliseconds }) {
      const { stdout } = await promisify(execFile)('redis-benchmark', [
        ...['-p', String(port), '-c', String(callers), '-r', String(sessions), '-n', String(count), '--csv'],
        ...command,
      ])
      // Requests a second; then average, least, p50, p95, p99, most, in milliseconds.
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
