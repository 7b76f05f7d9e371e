import { describe, expect, test } from 'vitest'
import { connectPool } from '../../../session-pgsql/test/support/connect.ts'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { ClosedReads, ConnectionReads, KnownSession, TextBudget } from '../../src/gateway/reads.ts'
import { DATA, gateways } from './kit.ts'

const MIB = 1024 * 1024

describeOnEveryKind(
  'a write whose base the gateway has forgotten',
  (server) => {
    const { start, key, db } = gateways(server)
    const idOf = (one: string): string => one.split(':')[1] as string

    /** Starts a gateway whose memory for reads is full of one session, which 45 connections have read. */
    async function full() {
      const gateway = await start({ maxValue: 8 * MIB, createUnread: false })
      const { talk } = gateway
      const large = key()
      const data = `large|s:3900000:"${'x'.repeat(3_900_000)}";`
      const writer = talk()
      expect(await writer.ask('GET', large)).toBe('$-1\r\n')
      expect(await writer.ask('SETEX', large, '1440', data)).toBe('+OK\r\n')
      /** Reads the session on 45 connections. */
      const fill = async () => {
        const readers = Array.from({ length: 45 }, talk)
        for (const reader of readers)
          expect((await reader.ask('GET', large)).length).toBeGreaterThan(data.length)
        return readers
      }
      return { ...gateway, large, data, fill }
    }

    test('does not restore a logged-out session, and is merged, while another session fills the memory', async () => {
      const { talk, sessions, fill } = await full()
      const [victim, other] = [key(), key()]
      const [first, second] = [talk(), talk()]
      for (const [client, one] of [
        [first, victim],
        [second, other],
      ] as const) {
        expect(await client.ask('GET', one)).toBe('$-1\r\n')
        expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
        expect(await client.ask('GET', one)).toContain(DATA)
      }
      await fill()
      const browser = talk()
      await browser.ask('GET', victim)
      expect(await browser.ask('DEL', victim)).toBe(':1\r\n')
      await browser.ask('GET', other)
      expect(await browser.ask('SETEX', other, '1440', `${DATA}theirs|i:1;`)).toBe('+OK\r\n')
      // Under the same id, another session has begun.
      expect(await browser.ask('GET', victim)).toBe('$-1\r\n')
      expect(await browser.ask('SETEX', victim, '1440', 'csrf|s:1:"x";')).toBe('+OK\r\n')

      expect(await first.ask('SETEX', victim, '1440', `${DATA}late|i:1;`)).toBe('+OK\r\n')
      expect((await sessions.read(idOf(victim)))?.data).toEqual({ csrf: 'x' })
      expect(await second.ask('SETEX', other, '1440', `${DATA}mine|i:1;`)).toBe('+OK\r\n')
      expect((await sessions.read(idOf(other)))?.data).toEqual({ user: 'ada', n: 1, theirs: 1, mine: 1 })
    })

    test('is stored if the session is as the client has read it, and a conflict otherwise', async () => {
      const { talk, sessions, large, data, fill } = await full()
      const readers = await fill()
      // The texts of the first ones were dropped.
      expect(await readers[0]?.ask('SETEX', large, '1440', `${data}first|i:1;`)).toBe('+OK\r\n')
      expect(await readers[1]?.ask('SETEX', large, '1440', `${data}second|i:1;`)).toMatch(/^-ERR CONFLICT/)
      expect(await readers[44]?.ask('SETEX', large, '1440', `${data}last|i:1;`)).toBe('+OK\r\n')
      expect((await sessions.read(idOf(large)))?.data).toMatchObject({ first: 1, last: 1 })
      const browser = talk()
      await browser.ask('GET', large)
      expect(await browser.ask('DEL', large)).toBe(':1\r\n')
      expect(await readers[2]?.ask('SETEX', large, '1440', data)).toBe('+OK\r\n')
      expect(await sessions.read(idOf(large))).toBeUndefined()
    })

    test('replaces a session that the client has never read, and creates none', async () => {
      const { talk, sessions } = await start({ createUnread: false })
      const one = key()
      expect(await talk().ask('SETEX', one, '1440', DATA)).toMatch(/^-ERR NOT_READ/)
      expect(await talk().ask('SET', one, DATA, 'EX', '1440')).toMatch(/^-ERR NOT_READ/)
      expect(await sessions.read(idOf(one))).toBeUndefined()
      const client = talk()
      expect(await client.ask('GET', one)).toBe('$-1\r\n')
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await talk().ask('SETEX', one, '1440', 'n|i:2;')).toBe('+OK\r\n')
      expect((await sessions.read(idOf(one)))?.data).toEqual({ n: 2 })
    })

    test('creates a session that the client has not read with --create-unread', async () => {
      const { talk, sessions } = await start({ createUnread: true })
      const one = key()
      expect(await talk().ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect((await sessions.read(idOf(one)))?.data).toEqual({ user: 'ada', n: 1 })
      // What the client has read still counts.
      const [client, browser] = [talk(), talk()]
      await client.ask('GET', one)
      expect(await browser.ask('DEL', one)).toBe(':1\r\n')
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await sessions.read(idOf(one))).toBeUndefined()
    })

    test.for([true, false])(
      'finds the session destroyed between its read and its write: creates it with --create-unread (%s)',
      async (createUnread) => {
        const { talk, sessions, own } = await start({ createUnread })
        const one = key()
        await sessions.write(idOf(one), { user: 'grace' })
        const pool = connectPool(await db())
        const destroyer = await pool.connect()
        await destroyer.query('BEGIN')
        await destroyer.query('DELETE FROM php_session WHERE sess_id = $1', [idOf(one)])
        await own.open()
        const calls = () => own.status().servers[0]?.calls ?? 0
        const before = calls()
        const reply = talk().ask('SETEX', one, '1440', DATA)
        // It has read the session, and tries to write it: the row is locked.
        await until(() => calls() >= before + 3, 'the write')
        await destroyer.query('COMMIT')
        destroyer.release()
        await pool.end()
        expect(await reply).toMatch(createUnread ? /^\+OK/ : /^-ERR NOT_READ/)
        expect((await sessions.read(idOf(one)))?.data).toEqual(
          createUnread ? { user: 'ada', n: 1 } : undefined,
        )
      },
    )
  },
  ['postgres'],
)

/** A session with a text of this size, as a connection that has read it knows it. */
function known(textBytes: number): KnownSession {
  return new KnownSession('etag', { base: null, seen: undefined, textBytes })
}

describe('TextBudget', () => {
  test('drops the oldest text of the session that takes most memory, and never another one', () => {
    const budget = new TextBudget(10_000)
    const small = Array.from({ length: 20 }, () => known(100))
    for (const [n, session] of small.entries()) budget.add(`small${n}`, session)
    const large = Array.from({ length: 100 }, () => known(1000))
    for (const session of large) budget.add('large', session)
    expect(small.every(({ text }) => text !== undefined)).toBe(true)
    expect(large.map(({ text }) => text !== undefined).lastIndexOf(false)).toBe(91)
    expect(large.filter(({ text }) => text !== undefined)).toHaveLength(8)
    for (const { etag } of large) expect(etag).toBe('etag')
    // Many large sessions take nothing from the small ones either.
    for (let n = 0; n < 100; n++) budget.add(`one${n}`, known(1000))
    expect(small.every(({ text }) => text !== undefined)).toBe(true)
  })

  test('has the memory again that removed sessions took', () => {
    const budget = new TextBudget(1000)
    for (let n = 0; n < 100; n++) {
      const session = known(900)
      budget.add('a', session)
      expect(session.text).toBeDefined()
      budget.remove('a', session)
    }
    const [first, second] = [known(500), known(500)]
    budget.add('a', first)
    budget.add('b', second)
    expect([first.text, second.text]).not.toContain(undefined)
  })
})

describe('reads of connections', () => {
  test('are the last 128 of a connection', () => {
    const reads = new ConnectionReads(new TextBudget(1_000_000))
    for (let n = 0; n < 1000; n++) {
      reads.set(`key${n}`, known(10))
      reads.set('first', known(10))
    }
    expect(reads.get('key871')).toBeUndefined()
    expect(reads.get('key873')).toBeDefined()
    expect(reads.get('first')).toBeDefined()
  })

  test('are handed out once after their connection has closed, with the memory that they take', () => {
    const budget = new TextBudget(1000)
    const closed = new ClosedReads(budget)
    const reads = new ConnectionReads(budget)
    const session = known(900)
    reads.set('a', session)
    closed.add(reads)
    expect(reads.get('a')).toBeUndefined()
    expect(closed.take('a')).toBe(session)
    expect(closed.take('a')).toBeUndefined()
    const next = new ConnectionReads(budget)
    next.set('a', session)
    next.set('b', known(50))
    expect(session.text).toBeDefined()
    next.set('b', known(300))
    expect(session.text).toBeUndefined()
  })

  test('of closed connections are those of requests in progress, the older one of two', () => {
    const budget = new TextBudget(10_000)
    const closed = new ClosedReads(budget)
    const leave = (textBytes: number, ended: boolean): void => {
      const reads = new ConnectionReads(budget)
      const session = known(textBytes)
      session.ended = ended
      reads.set('a', session)
      closed.add(reads)
    }
    leave(1, true)
    expect(closed.take('a')).toBeUndefined()
    leave(2, true)
    leave(3, false)
    leave(4, false)
    leave(5, true)
    expect(closed.take('a')?.text?.textBytes).toBe(3)
  })
})
