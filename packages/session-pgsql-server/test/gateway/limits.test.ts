import { once } from 'node:events'
import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { eventually, within } from '../../../session-pgsql/test/support/wait.ts'
import { PendingMetadata } from '../../src/gateway/pending-metadata.ts'
import { DATA, gateways, UNLOCK } from './kit.ts'
import { command, type Talk } from './talk.ts'

/** Returns the bytes in use after garbage collection. */
function heap(): number {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

describeOnEveryKind(
  'limits of the gateway',
  (server) => {
    const { start, startBehindProxy, key, after } = gateways(server)

    /** Stops the gateway's clock. @returns a function that advances it */
    function clock() {
      vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] })
      after(async () => vi.useRealTimers())
      return (seconds: number) => vi.advanceTimersByTime(seconds * 1000)
    }

    async function connections(healthPort: number | undefined): Promise<number> {
      const response = await fetch(`http://127.0.0.1:${healthPort}/health`)
      return ((await response.json()) as { connections: number }).connections
    }

    test('closes a connection whose client does not complete a command in time', async () => {
      const advance = clock()
      const { talk } = await start()
      const [slow, steady] = [talk(), talk()]
      const whole = command('SETEX', key(), '1440', DATA)
      for (const client of [slow, steady]) {
        expect(await client.ask('PING')).toBe('+PONG\r\n')
        client.send(whole.subarray(0, 20))
      }
      // Those bytes have arrived when a command that was sent later is answered.
      expect(await talk().ask('PING')).toBe('+PONG\r\n')
      advance(25)
      steady.send(whole.subarray(20))
      expect(await steady.answer()).toBe('+OK\r\n')
      // Another byte does not extend the timeout.
      slow.send(whole.subarray(20, 21))
      expect(await talk().ask('PING')).toBe('+PONG\r\n')
      advance(10)
      expect(await slow.rest()).toBe('')
      expect(await steady.ask('PING')).toBe('+PONG\r\n')
    })

    test('closes a connection whose client does not send the password in time', async () => {
      const advance = clock()
      const { talk } = await start({ password: 'sesame' })
      const [silent, authenticated] = [talk(), talk()]
      expect(await authenticated.ask('AUTH', 'sesame')).toBe('+OK\r\n')
      expect(await silent.ask('PING')).toMatch(/^-NOAUTH/)
      advance(15)
      expect(await silent.rest()).toBe('')
      expect(await authenticated.ask('PING')).toBe('+PONG\r\n')
    })

    test('closes a connection without the password in time, even if it took replies slowly before', async () => {
      const advance = clock()
      const { port } = await start({ password: 'sesame' })
      const slow = connect({ host: '127.0.0.1', port })
      after(async () => slow.destroy())
      const batch = Buffer.concat(Array.from({ length: 10_000 }, () => command('HELLO')))
      const reply = '-NOAUTH HELLO must be called with the client already authenticated, or with AUTH\r\n'
      slow.pause()
      let sent = 0
      // The gateway stops reading, because its replies are not taken.
      await eventually(() => {
        slow.write(batch)
        sent += 10_000
        expect(slow.writableLength).toBeGreaterThan(1_000_000)
      }, 3_600_000)
      let received = 0
      slow.on('data', (chunk: Buffer) => {
        received += chunk.length
      })
      slow.resume()
      await eventually(() => expect(received).toBe(sent * reply.length), 3_600_000)
      const closed = once(slow, 'close')
      advance(15)
      await within(closed, 10_000, 'the gateway to close the connection')
    })

    test('closes a connection whose client takes no replies, and serves other clients meanwhile', async () => {
      const advance = clock()
      const { talk, port, healthPort } = await start({ healthPort: 0, maxValue: 2 * 1024 * 1024 })
      const writer = talk()
      const one = key()
      const large = `big|s:1000000:"${'x'.repeat(1_000_000)}";`
      expect(await writer.ask('SETEX', one, '1440', large)).toBe('+OK\r\n')
      const deaf = connect({ host: '127.0.0.1', port })
      after(async () => deaf.destroy())
      deaf.on('error', () => {})
      deaf.pause()
      for (let n = 0; n < 60; n++) deaf.write(command('GET', one))
      await eventually(async () => {
        expect(await writer.ask('PING')).toBe('+PONG\r\n')
        advance(31)
        expect(await connections(healthPort)).toBe(1)
        // The timeout of `eventually` uses the same clock.
      }, 3_600_000)
    })

    test('closes an idle connection after --idle-timeout, and keeps an active one', async () => {
      const advance = clock()
      const { talk } = await start({ idleTimeout: 60 })
      const [idle, active] = [talk(), talk()]
      for (const client of [idle, active]) expect(await client.ask('PING')).toBe('+PONG\r\n')
      advance(40)
      expect(await active.ask('PING')).toBe('+PONG\r\n')
      advance(40)
      expect(await idle.rest()).toBe('')
      expect(await active.ask('PING')).toBe('+PONG\r\n')
    })

    test('refuses input when the commands in flight use up the memory for them', async () => {
      const maxValue = 64 * 1024 * 1024
      const { talk, healthPort } = await start({ maxValue, healthPort: 0 })
      // There is memory for four of the largest sessions.
      const head = Buffer.from(`*4\r\n$5\r\nSETEX\r\n$1\r\nk\r\n$4\r\n1440\r\n$${maxValue}\r\n`)
      const part = Buffer.alloc(maxValue - 1024)
      const clients: Talk[] = []
      for (let n = 0; n < 6; n++) {
        const client = talk()
        clients.push(client)
        client.send(head)
        client.send(part)
      }
      const answers = await Promise.race(clients.map((client) => client.rest()))
      expect(answers).toMatch(/Protocol error: the memory for commands in flight is exhausted/)
      for (const client of clients) client.end()
      await eventually(async () => expect(await connections(healthPort)).toBe(0))
      // The memory is free again.
      const one = key()
      const client = talk()
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await client.ask('GET', one)).toContain(DATA)
    })

    test('waits at close for a request that has read and not written, and for one with a lock', async () => {
      const { gateway, sessions, talk } = await start()
      const [writer, locker, idle] = [talk(), talk(), talk()]
      const [one, two] = [key(), key()]
      await writer.ask('SETEX', one, '1440', DATA)
      await writer.ask('GET', one)
      expect(await locker.ask('SET', `${two}_LOCK`, 'mine', 'NX')).toBe('+OK\r\n')
      expect(await idle.ask('PING')).toBe('+PONG\r\n')
      const closed = gateway.close()
      expect(await idle.rest()).toBe('')
      expect(await talk().rest()).toBe('')
      expect(await writer.ask('SETEX', one, '1440', `${DATA}late|i:1;`)).toBe('+OK\r\n')
      expect(await locker.ask('SETEX', two, '1440', DATA)).toBe('+OK\r\n')
      expect(await locker.ask('DELIFEQ', `${two}_LOCK`, 'mine')).toBe(':1\r\n')
      for (const client of [writer, locker]) expect(await client.rest()).toBe('')
      await closed
      expect((await sessions.read(one.split(':')[1] as string))?.data).toMatchObject({ late: 1 })
    })

    test('holds the encoded sessions that a connection has read, not the decoded ones', async () => {
      const { talk } = await start()
      const client = talk()
      const [count, objects] = [40, 4000]
      const items = Array.from({ length: objects }, (_, n) => `i:${n};O:1:"a":0:{}`).join('')
      const data = `list|a:${objects}:{${items}}`
      const keys = Array.from({ length: count }, key)
      for (const one of keys) expect(await client.ask('SETEX', one, '1440', data)).toBe('+OK\r\n')
      client.end()
      const reader = talk()
      expect(await reader.ask('GET', keys[0] as string)).toContain('list')
      const before = heap()
      for (const one of keys) expect((await reader.ask('GET', one)).length).toBeGreaterThan(data.length)
      for (const one of keys) expect(await reader.ask('EXPIRE', one, '1440')).toBe(':1\r\n')
      // Decoded, they would take fifteen times the memory.
      expect(heap() - before).toBeLessThan(count * data.length * 4)
    })

    test('limits the locks of a connection, and counts a lock once that its owner takes again', async () => {
      const { talk, healthPort } = await start({ healthPort: 0 })
      const client = talk()
      for (let n = 0; n < 100; n++) {
        expect(await client.ask('SET', `PHPSESSID:same_LOCK`, 'mine', 'NX', 'PX', '30000')).toBe('+OK\r\n')
      }
      for (let n = 0; n < 63; n++) {
        expect(await client.ask('SET', `${key()}_LOCK`, 'mine', 'NX')).toBe('+OK\r\n')
      }
      const one = key()
      const last = `${one}_LOCK`
      // phpredis would repeat the request after an error: the error comes for the session.
      for (const secret of ['mine', 'x'.repeat(5000)]) {
        expect(await client.ask('SET', last, secret, 'NX')).toBe('+OK\r\n')
        expect(await client.ask('GET', one)).toMatch(/^-ERR .*(64 locks|too long)/)
        expect(await client.ask('SETEX', one, '1440', DATA)).toMatch(/^-ERR .*(64 locks|too long)/)
        expect(await client.ask('EVALSHA', UNLOCK, '1', last, secret)).toBe(':0\r\n')
        expect(await client.ask('GET', one)).toBe('$-1\r\n')
      }
      expect(await talk().ask('SET', last, 'theirs', 'NX')).toBe('+OK\r\n')
      expect(await client.ask('DELIFEQ', 'PHPSESSID:same_LOCK', 'mine')).toBe(':1\r\n')
      expect(await client.ask('SET', `${key()}_LOCK`, 'mine', 'NX')).toBe('+OK\r\n')
      expect(await connections(healthPort)).toBe(2)
    })

    test('leaves a lock free that is released during its renewal', async () => {
      const advance = clock()
      const [near, far] = [await start(), await startBehindProxy()]
      const { proxy } = far
      const [other, holder] = [near.talk(), far.talk()]
      for (let n = 0; n < 10; n++) {
        const lock = `${key()}_LOCK`
        expect(await holder.ask('SET', lock, 'mine', 'NX')).toBe('+OK\r\n')
        proxy.holdServerReplies()
        advance(4)
        const released = holder.ask('DELEX', lock, 'IFEQ', 'mine')
        await new Promise((resolve) => setImmediate(resolve))
        await proxy.resume()
        expect(await released).toBe(':1\r\n')
        expect(await other.ask('SET', lock, 'theirs', 'NX')).toBe('+OK\r\n')
      }
    })
  },
  ['postgres'],
)

describe('PendingMetadata', () => {
  test('drops the oldest update when its memory is full', () => {
    const pending = new PendingMetadata(10_000)
    const custom = 'x'.repeat(1000)
    for (let n = 0; n < 100; n++) pending.set(`key${n}`, { custom })
    const left = Array.from({ length: 100 }, (_, n) => n).filter((n) => pending.get(`key${n}`) !== undefined)
    expect(left.length).toBeGreaterThan(1)
    expect(left.length).toBeLessThan(10)
    expect(left.at(-1)).toBe(99)
    // Updates of one session are counted once.
    for (let n = 0; n < 100; n++) pending.addError('key99', 'error', 'x'.repeat(100))
    expect(pending.get('key98')).toBeDefined()
    expect(pending.get('key99')?.errors).toMatchObject({ errors: 100 })
    // An update that is larger than the limit is kept alone.
    pending.set('huge', { custom: 'x'.repeat(100_000) })
    expect(pending.get('huge')).toBeDefined()
    expect(pending.get('key99')).toBeUndefined()
    pending.delete('huge')
    for (const name of ['a', 'b', 'c']) pending.set(name, { custom })
    expect(pending.get('a')).toBeDefined()
  })
})
