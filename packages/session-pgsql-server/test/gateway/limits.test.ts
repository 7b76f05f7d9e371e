import { once } from 'node:events'
import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { startProxy } from '../../../session-pgsql/test/support/proxy.ts'
import { describeOnEveryServer } from '../../../session-pgsql/test/support/servers.ts'
import { eventually, within } from '../../../session-pgsql/test/support/wait.ts'
import { PendingMetadata } from '../../src/gateway/pending-metadata.ts'
import { ClosedReads, ConnectionReads, type KnownSession, ReadBudget } from '../../src/gateway/reads.ts'
import { DATA, gateways } from './kit.ts'
import { command, type Talk } from './talk.ts'

/** Bytes that are in use, when what is not has been collected. */
function heap(): number {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

describeOnEveryServer(
  'what clients may not do to the gateway',
  (server) => {
    const { start, db, key, after } = gateways(server)

    /** The gateway's clock in our hands: what it does by time it does when we say. */
    function clock() {
      vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] })
      after(async () => vi.useRealTimers())
      return (seconds: number) => vi.advanceTimersByTime(seconds * 1000)
    }

    async function connections(healthPort: number | undefined): Promise<number> {
      const response = await fetch(`http://127.0.0.1:${healthPort}/health`)
      return ((await response.json()) as { connections: number }).connections
    }

    test('half a command: its sender is waited for, and then is not any more', async () => {
      const pass = clock()
      const { talk } = await start()
      const [slow, patient] = [talk(), talk()]
      const whole = command('SETEX', key(), '1440', DATA)
      for (const client of [slow, patient]) {
        expect(await client.ask('PING')).toBe('+PONG\r\n')
        client.send(whole.subarray(0, 20))
      }
      // It has come when another's command that was sent later is answered.
      expect(await talk().ask('PING')).toBe('+PONG\r\n')
      pass(25)
      patient.send(whole.subarray(20))
      expect(await patient.answer()).toBe('+OK\r\n')
      // A byte now and then is not enough.
      slow.send(whole.subarray(20, 21))
      expect(await talk().ask('PING')).toBe('+PONG\r\n')
      pass(10)
      expect(await slow.rest()).toBe('')
      expect(await patient.ask('PING')).toBe('+PONG\r\n')
    })

    test('a stranger who does not give the password', async () => {
      const pass = clock()
      const { talk } = await start({ password: 'sesame' })
      const [silent, welcome] = [talk(), talk()]
      expect(await welcome.ask('AUTH', 'sesame')).toBe('+OK\r\n')
      expect(await silent.ask('PING')).toMatch(/^-NOAUTH/)
      pass(15)
      expect(await silent.rest()).toBe('')
      expect(await welcome.ask('PING')).toBe('+PONG\r\n')
    })

    test('closes a connection without the password in time, even if it was slow to take its replies', async () => {
      const pass = clock()
      const { port } = await start({ password: 'sesame' })
      const slow = connect({ host: '127.0.0.1', port })
      after(async () => slow.destroy())
      const batch = Buffer.concat(Array.from({ length: 10_000 }, () => command('HELLO')))
      const reply = '-NOAUTH HELLO must be called with the client already authenticated, or with AUTH\r\n'
      slow.pause()
      let sent = 0
      // The gateway reads no more: it waits until its replies are taken.
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
      pass(15)
      await within(closed, 10_000, 'the gateway to close the connection')
    })

    test('a client that takes no answers: it is given up, and others are served meanwhile', async () => {
      const pass = clock()
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
        pass(31)
        expect(await connections(healthPort)).toBe(1)
        // `eventually` goes by the same clock.
      }, 3_600_000)
    })

    test('a silent one is ended after --idle-timeout, one that works is not', async () => {
      const pass = clock()
      const { talk } = await start({ idleTimeout: 60 })
      const [silent, busy] = [talk(), talk()]
      for (const client of [silent, busy]) expect(await client.ask('PING')).toBe('+PONG\r\n')
      pass(40)
      expect(await busy.ask('PING')).toBe('+PONG\r\n')
      pass(40)
      expect(await silent.rest()).toBe('')
      expect(await busy.ask('PING')).toBe('+PONG\r\n')
    })

    test('many half commands together: the gateway has room for so many bytes, and refuses more', async () => {
      const maxValue = 64 * 1024 * 1024
      const { talk, healthPort } = await start({ maxValue, healthPort: 0 })
      // Room is for four of the largest.
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
      // The room is free again.
      const one = key()
      const client = talk()
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await client.ask('GET', one)).toContain(DATA)
    })

    test('a stop waits for a request that has read and not written, and for one with a lock', async () => {
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

    test('what a connection has read takes the room of its bytes, not of what they decode to', async () => {
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
      // Decoded they would take fifteen times as much.
      expect(heap() - before).toBeLessThan(count * data.length * 4)
    })

    test('a connection holds so many locks and no more; taken again by its owner a lock is one', async () => {
      const { talk, healthPort } = await start({ healthPort: 0 })
      const client = talk()
      for (let n = 0; n < 100; n++) {
        expect(await client.ask('SET', `PHPSESSID:same_LOCK`, 'mine', 'NX', 'PX', '30000')).toBe('+OK\r\n')
      }
      for (let n = 0; n < 63; n++) {
        expect(await client.ask('SET', `${key()}_LOCK`, 'mine', 'NX')).toBe('+OK\r\n')
      }
      const last = `${key()}_LOCK`
      expect(await client.ask('SET', last, 'mine', 'NX')).toMatch(/^-ERR .*64 locks/)
      expect(await client.ask('SET', last, 'x'.repeat(5000), 'NX')).toMatch(/^-ERR/)
      expect(await talk().ask('SET', last, 'theirs', 'NX')).toBe('+OK\r\n')
      expect(await client.ask('DELIFEQ', 'PHPSESSID:same_LOCK', 'mine')).toBe(':1\r\n')
      expect(await client.ask('SET', `${key()}_LOCK`, 'mine', 'NX')).toBe('+OK\r\n')
      expect(await connections(healthPort)).toBe(2)
    })

    test('a lock that is given back while it is being renewed is free', async () => {
      const pass = clock()
      const url = new URL(await db())
      const proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
      after(() => proxy.stop())
      url.port = String(proxy.port)
      const [near, far] = [await start(), await start({}, url.href)]
      const [other, holder] = [near.talk(), far.talk()]
      for (let n = 0; n < 10; n++) {
        const lock = `${key()}_LOCK`
        expect(await holder.ask('SET', lock, 'mine', 'NX')).toBe('+OK\r\n')
        proxy.holdServerReplies()
        pass(4)
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

describe('what is noted of sessions', () => {
  test('is bounded in bytes: the oldest goes first', () => {
    const notes = new PendingMetadata(10_000)
    const custom = 'x'.repeat(1000)
    for (let n = 0; n < 100; n++) notes.set(`key${n}`, { custom })
    const left = Array.from({ length: 100 }, (_, n) => n).filter((n) => notes.get(`key${n}`) !== undefined)
    expect(left.length).toBeGreaterThan(1)
    expect(left.length).toBeLessThan(10)
    expect(left.at(-1)).toBe(99)
    // What was said of one session before is still counted once.
    for (let n = 0; n < 100; n++) notes.addError('key99', 'error', 'x'.repeat(100))
    expect(notes.get('key98')).toBeDefined()
    expect(notes.get('key99')?.errors).toMatchObject({ errors: 100 })
    // What is larger than all room is noted alone.
    notes.set('huge', { custom: 'x'.repeat(100_000) })
    expect(notes.get('huge')).toBeDefined()
    expect(notes.get('key99')).toBeUndefined()
    notes.delete('huge')
    for (const name of ['a', 'b', 'c']) notes.set(name, { custom })
    expect(notes.get('a')).toBeDefined()
  })
})

describe('what connections have read', () => {
  const session = (bytes: number): KnownSession => ({ base: null, seen: undefined, counted: false, bytes })

  test('one connection remembers so much, and all together so much', () => {
    const all = new ReadBudget(1000)
    const [first, second] = [new ConnectionReads(600, all), new ConnectionReads(600, all)]
    for (const name of ['a', 'b', 'c', 'd']) first.set(name, session(200))
    expect(['a', 'b', 'c', 'd'].map((name) => first.get(name) !== undefined)).toEqual([
      false,
      true,
      true,
      true,
    ])
    for (const name of ['e', 'f', 'g']) second.set(name, session(200))
    expect(['b', 'c', 'd'].map((name) => first.get(name) !== undefined)).toEqual([false, true, true])
    expect(['e', 'f', 'g'].map((name) => second.get(name) !== undefined)).toEqual([true, true, true])
    // What is larger than all is remembered alone.
    second.set('huge', session(5000))
    expect(second.get('huge')).toBeDefined()
    expect(first.get('d')).toBeUndefined()
  })

  test('what a connection leaves is somebody else’s once, and counts for all no more', () => {
    const all = new ReadBudget(1000)
    const left = new ClosedReads(1000)
    const reads = new ConnectionReads(1000, all)
    reads.set('a', session(900))
    left.add(reads)
    expect(reads.get('a')).toBeUndefined()
    const next = new ConnectionReads(1000, all)
    next.set('b', session(900))
    next.set('c', session(50))
    expect(next.get('b')).toBeDefined()
    expect(left.take('a')?.bytes).toBe(900)
    expect(left.take('a')).toBeUndefined()
  })

  test('of what was left, a request under way counts before one that is done, and the older of two under way', () => {
    const left = new ClosedReads(10_000)
    const leave = (weight: number, counted: boolean): void => {
      const reads = new ConnectionReads(10_000, new ReadBudget(10_000))
      reads.set('a', { ...session(weight), counted })
      left.add(reads)
    }
    leave(1, true)
    leave(2, true)
    leave(3, false)
    leave(4, false)
    leave(5, true)
    expect(left.take('a')?.bytes).toBe(3)
    leave(6, true)
    leave(7, true)
    expect(left.take('a')?.bytes).toBe(7)
  })
})
