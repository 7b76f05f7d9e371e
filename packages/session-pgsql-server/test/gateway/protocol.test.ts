import fc from 'fast-check'
import { phpBytesCodec, SaveHandler } from 'session-pgsql'
import { describe, expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { eventually } from '../../../session-pgsql/test/support/wait.ts'
import { run } from '../../src/run.ts'
import { DATA, gateways, UNLOCK } from './kit.ts'
import { command, Talk } from './talk.ts'

describeOnEveryKind(
  'the gateway',
  (server) => {
    const { start, startBehindProxy, db, key, after } = gateways(server)

    const leases = async (id: string) =>
      queryOnce<{ ends: number; now: number }>(
        await db(),
        `SELECT lock_until::float8 AS ends, extract(epoch FROM clock_timestamp())::float8 AS now
         FROM php_session_lock WHERE sess_id = $1`,
        [id],
      )

    test('answers the commands of phpredis', async () => {
      const { talk, sessions } = await start()
      const client = talk()
      const one = key()
      expect(await client.ask('EXISTS', one)).toBe(':0\r\n')
      expect(await client.ask('GET', one)).toBe('$-1\r\n')
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await client.ask('EXISTS', one)).toBe(':1\r\n')
      expect(await client.ask('GET', one)).toBe(`$${DATA.length}\r\n${DATA}\r\n`)
      expect(await client.ask('EXPIRE', one, '100')).toBe(':1\r\n')
      expect(Number((await client.ask('TTL', one)).slice(1))).toBeLessThanOrEqual(100)
      expect(await client.ask('GETEX', one, 'EX', '2000')).toContain(DATA)
      expect(Number((await client.ask('TTL', one)).slice(1))).toBeGreaterThan(1900)
      expect(await client.ask('PERSIST', one)).toBe(':0\r\n')
      expect(await sessions.read(one.split(':')[1] as string)).toMatchObject({
        name: 'PHPSESSID',
        data: { user: 'ada', n: 1 },
      })
      expect(await client.ask('DEL', one)).toBe(':1\r\n')
      expect(await client.ask('DEL', one)).toBe(':0\r\n')
      expect(await client.ask('TTL', one)).toBe(':-2\r\n')
      expect(await client.ask('PING')).toBe('+PONG\r\n')
      expect(await client.ask('ECHO', 'x')).toBe('$1\r\nx\r\n')
      expect(await client.ask('SELECT', '0')).toBe('+OK\r\n')
      expect(await client.ask('SELECT', '1')).toMatch(/^-NODB/)
      expect(await client.ask('SELECT', '0')).toBe('+OK\r\n')
      expect(await client.ask('HELLO', '2')).toContain('session-pgsql-server')
      expect(await client.ask('HELLO', '3')).toMatch(/^-NOPROTO/)
      expect(await client.ask('CLIENT', 'SETNAME', 'x')).toBe('+OK\r\n')
      expect(await client.ask('INFO')).toContain('redis_version')
      expect(await client.ask('COMMAND')).toBe('*0\r\n')
      client.send('PING\r\n')
      expect(await client.answer()).toBe('+PONG\r\n')
      expect(await client.ask('QUIT')).toBe('+OK\r\n')
      expect(await client.rest()).toBe('')
    })

    test.each([
      ['as they are', {}],
      ['with shortCircuit', { shortCircuit: true }],
      ['with shortCircuit and refreshAfter', { shortCircuit: true, refreshAfter: 30 }],
    ])('TTL is never more than was set: lifetimes are stored %s', async (_, settings) => {
      const sessions = new SaveHandler<Uint8Array>({
        db: await db(),
        codec: phpBytesCodec('php'),
        idPattern: 'php',
        gcInterval: 0,
        ...settings,
      })
      after(() => sessions.close())
      const { talk } = await start({ sessions })
      const client = talk()
      for (let n = 0; n < 20; n++) {
        const one = key()
        await client.ask('SETEX', one, '100', DATA)
        const ttl = Number((await client.ask('TTL', one)).slice(1))
        expect(ttl).toBeLessThanOrEqual(100)
        expect(ttl).toBeGreaterThan(95)
        await client.ask('PSETEX', one, '2500', DATA)
        expect(Number((await client.ask('PTTL', one)).slice(1))).toBeLessThanOrEqual(2500)
      }
    })

    test('replies with an error to an invalid command, and keeps the connection', async () => {
      const { talk } = await start()
      const client = talk()
      expect(await client.ask('FLUSHALL')).toBe("-ERR unknown command 'FLUSHALL'\r\n")
      expect(await client.ask('__proto__', 'x')).toMatch(/^-ERR unknown/)
      expect(await client.ask('GET')).toMatch(/^-ERR wrong number/)
      expect(await client.ask('SETEX', key(), '0', DATA)).toMatch(/^-ERR invalid expire/)
      expect(await client.ask('SETEX', key(), 'x', DATA)).toMatch(/^-ERR value is not an integer/)
      expect(await client.ask('SETEX', key(), '10', 'no session at all')).toMatch(/^-ERR INVALID_DATA/)
      expect(await client.ask('SETEX', 'PHPSESSID:../../x', '10', DATA)).toMatch(/^-ERR INVALID_ID/)
      expect(await client.ask('EVAL', 'return 1', '1', 'x', 'y')).toMatch(/^-ERR/)
      expect(await client.ask('PING')).toBe('+PONG\r\n')
    })

    test('refuses metadata that could not be stored, so that it does not fail the write of the session', async () => {
      const { talk, sessions } = await start()
      const client = talk()
      const one = key()
      expect(await client.ask('SESSION.ADDRESS', one, '203.0.113.7\0')).toMatch(/^-ERR invalid address/)
      expect(await client.ask('SESSION.ADDRESS', one, 'x'.repeat(5000))).toMatch(/^-ERR invalid address/)
      // The cut at the longest message is in the middle of a character.
      expect(await client.ask('SESSION.ERROR', one, 'error', `x${'\u{1f600}'.repeat(8000)}`)).toBe(':0\r\n')
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      const written = await sessions.read(one.split(':')[1] as string)
      expect(written).toMatchObject({ errors: 1, addressModified: null })
      expect(written?.errorMessage).toMatch(/^x\u{1f600}{4999}/u)
      for (const bad of ['PHPSESSID:../../x', 'PHPSESSID:', `${one}_LOCK`]) {
        expect(await client.ask('SESSION.ADDRESS', bad, '203.0.113.7')).toMatch(/^-ERR INVALID_ID/)
        expect(await client.ask('SESSION.FIELD', bad, 'ada')).toMatch(/^-ERR INVALID_ID/)
        expect(await client.ask('SESSION.ERROR', bad, 'error')).toMatch(/^-ERR INVALID_ID/)
      }
      const long = `${'p'.repeat(5000)}:${one.split(':')[1]}`
      for (const words of [
        ['GET', long],
        ['SETEX', long, '1440', DATA],
        ['SESSION.ADDRESS', long, '203.0.113.7'],
      ]) {
        expect(await client.ask(...words)).toMatch(/^-ERR INVALID_KEY/)
      }
    })

    test('accepts commands that are split at any byte, or sent all at once', async () => {
      const { talk } = await start()
      const one = key()
      const stream = Buffer.concat([
        command('SETEX', one, '100', DATA),
        command('GET', one),
        command('NOPE'),
        command('DEL', one),
        command('GET', one),
      ])
      const answers = `+OK\r\n$${DATA.length}\r\n${DATA}\r\n-ERR unknown command 'NOPE'\r\n:1\r\n$-1\r\n`
      for (const pieces of [1, 2, 7, stream.length]) {
        const client = talk()
        const size = Math.ceil(stream.length / pieces)
        for (let at = 0; at < stream.length; at += size) {
          client.send(stream.subarray(at, at + size))
          if (pieces > 2) await new Promise((resolve) => setImmediate(resolve))
        }
        let all = ''
        while (all.length < answers.length) all += await client.answer()
        expect(all).toBe(answers)
      }
    })

    test('replies to invalid bytes with an error or closes the connection, and keeps serving', async () => {
      const { talk, port } = await start()
      const bad: [string, RegExp][] = [
        ['*1\r\n$-5\r\n', /Protocol error: invalid bulk length/],
        ['*1\r\n$99999999999\r\n', /Protocol error/],
        ['*1\r\n$200000\r\n', /bulk length is more than 100000/],
        ['*1000000000\r\n', /multibulk length is more than/],
        ['*-7\r\n', /invalid multibulk/],
        ['*1\r\n*1\r\n', /expected '\$', got '\*'/],
        ['*1\r\n$4\r\nPINGxx', /expected CRLF/],
        ['x'.repeat(5000), /the line is too long/],
      ]
      for (const [bytes, error] of bad) {
        const client = talk()
        client.send(bytes)
        expect(await client.rest()).toMatch(error)
      }
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.oneof(
              fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
              fc
                .constantFrom('*', '$', '\r\n', '*3\r\n', '$5\r\n', 'PING\r\n', '\0')
                .map((text) => Buffer.from(text)),
              fc
                .array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 })
                .map((words) => command('SETEX', ...words.map((word) => Buffer.from(word)))),
            ),
            { maxLength: 20 },
          ),
          async (pieces) => {
            const client = new Talk(port)
            for (const piece of pieces) client.send(piece)
            client.send(command('QUIT'))
            client.socket.end()
            await client.rest()
          },
        ),
        { numRuns: 60 },
      )
      expect(await talk().ask('PING')).toBe('+PONG\r\n')
    })

    test('answers a client that has closed its sending side', async () => {
      const { talk } = await start()
      const [client, one] = [talk(), key()]
      client.send(Buffer.concat([command('SETEX', one, '1440', DATA), command('GET', one)]))
      client.socket.end(command('EXPIRE', one, '1440'))
      expect(await client.rest()).toBe(`+OK\r\n$${DATA.length}\r\n${DATA}\r\n:1\r\n`)
    })

    test('answers commands in order, however many arrive while one is in progress', async () => {
      const { talk } = await start()
      const [client, one] = [talk(), key()]
      client.send(command('SETEX', one, '1440', DATA))
      for (let n = 0; n < 200; n++) {
        client.send(n % 2 === 0 ? command('GET', one) : command('ECHO', String(n)))
        if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      expect(await client.answer()).toBe('+OK\r\n')
      for (let n = 0; n < 200; n++)
        expect(await client.answer()).toContain(n % 2 === 0 ? DATA : `\r\n${n}\r\n`)
    })

    test('replies with an error to the GET of a session that PHP could not decode', async () => {
      const { talk } = await start()
      const one = key()
      const node = new SaveHandler({ db: await db(), gcInterval: 0 })
      after(() => node.close())
      await node.write(one.split(':')[1] as string, { user: 'ada' })
      const client = talk()
      // PHP would destroy a session that it cannot decode.
      for (let n = 0; n < 2; n++) expect(await client.ask('GET', one)).toMatch(/^-ERR UNDECODABLE/)
      expect(await client.ask('EXISTS', one)).toBe(':1\r\n')
    })

    test('executes no command in the body of an HTTP request', async () => {
      const { talk, port, sessions } = await start()
      const one = key()
      const id = one.split(':')[1] as string
      const bodies = [`SETEX ${one} 1440 ${DATA}\r\n`, command('SETEX', one, '1440', DATA).toString()]
      for (const body of bodies) {
        // As a browser sends it without a preflight request, from any page that is open on this machine.
        const answer = fetch(`http://127.0.0.1:${port}/`, {
          method: 'POST',
          headers: { 'content-type': 'text/plain' },
          body,
        })
        await expect(answer).rejects.toThrow()
        const client = talk()
        client.send(`POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
        expect(await client.rest()).toMatch(/^-ERR Protocol error: expected '\*', got 'P'\r\n$/)
      }
      expect(await sessions.read(id)).toBeUndefined()
    })

    test('keeps both changes when two requests overlap, and does not restore a destroyed session', async () => {
      const { talk, sessions } = await start()
      const [first, second] = [talk(), talk()]
      const one = key()
      const id = one.split(':')[1] as string
      await first.ask('SETEX', one, '1440', DATA)
      for (const client of [first, second]) await client.ask('GET', one)
      expect(await first.ask('SETEX', one, '1440', `${DATA}a|i:1;`)).toBe('+OK\r\n')
      expect(await second.ask('SETEX', one, '1440', `${DATA}b|i:2;`)).toBe('+OK\r\n')
      expect((await sessions.read(id))?.data).toEqual({ user: 'ada', n: 1, a: 1, b: 2 })
      // The first client has not seen b: its data without b is no deletion.
      expect(await first.ask('SETEX', one, '1440', `${DATA}a|i:3;`)).toBe('+OK\r\n')
      expect((await sessions.read(id))?.data).toEqual({ user: 'ada', n: 1, a: 3, b: 2 })

      await second.ask('GET', one)
      await first.ask('DEL', one)
      // Its reply does not wait for what is stored.
      expect(await second.ask('EXPIRE', one, '1440')).toBe(':1\r\n')
      expect(await second.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await sessions.read(id)).toBeUndefined()
    })

    test('SET with NX or XX checks the session in the write itself', async () => {
      const { talk, sessions } = await start()
      const [first, second] = [talk(), talk()]
      const one = key()
      const id = one.split(':')[1] as string
      expect(await first.ask('SET', one, 'a|i:1;', 'XX', 'EX', '100')).toBe('$-1\r\n')
      expect(await first.ask('SET', one, 'a|i:1;', 'NX', 'EX', '100')).toBe('+OK\r\n')
      expect(await second.ask('SET', one, 'b|i:2;', 'NX', 'EX', '100')).toBe('$-1\r\n')
      expect(await second.ask('SET', one, 'b|i:2;', 'XX', 'EX', '100')).toBe('+OK\r\n')
      expect((await sessions.read(id))?.data).toEqual({ b: 2 })

      // A session that the client has read, and that is gone at the write.
      const other = key()
      expect(await first.ask('SET', other, 'a|i:1;', 'NX', 'EX', '100')).toBe('+OK\r\n')
      expect(await first.ask('GET', other)).toContain('a|i:1;')
      expect(await second.ask('DEL', other)).toBe(':1\r\n')
      expect(await first.ask('SET', other, 'a|i:2;', 'XX', 'EX', '100')).toBe('$-1\r\n')
      expect(await sessions.read(other.split(':')[1] as string)).toBeUndefined()
    })

    test('stores the session of exactly one of several SET NX at once, through one gateway or two', async () => {
      const [here, there] = [await start(), await start()]
      const clients = [here.talk(), here.talk(), there.talk(), there.talk()]
      for (let round = 0; round < 50; round++) {
        const one = key()
        const answers = await Promise.all(
          clients.map((client, n) => client.ask('SET', one, `n|i:${n};`, 'NX', 'EX', '100')),
        )
        expect([...answers].sort()).toEqual(['$-1\r\n', '$-1\r\n', '$-1\r\n', '+OK\r\n'])
        expect((await here.sessions.read(one.split(':')[1] as string))?.data).toEqual({
          n: answers.indexOf('+OK\r\n'),
        })
      }
    })

    test('merges the write of a client that has reconnected with what it had read before', async () => {
      const { talk, sessions } = await start()
      const one = key()
      const id = one.split(':')[1] as string
      const before = talk()
      await before.ask('SETEX', one, '1440', DATA)
      await before.ask('GET', one)
      before.end()
      const other = talk()
      await other.ask('GET', one)
      await other.ask('SETEX', one, '1440', `${DATA}other|i:1;`)
      const after = talk()
      await eventually(async () => {
        // Passes once the gateway has noticed the end of the first connection.
        expect(await after.ask('SETEX', one, '1440', `${DATA}mine|i:1;`)).toBe('+OK\r\n')
        expect((await sessions.read(id))?.data).toEqual({ user: 'ada', n: 1, other: 1, mine: 1 })
      })
    })

    test('takes GETEX for the beginning of a request, and EXPIRE for its end', async () => {
      const { gateway, talk, sessions } = await start()
      const one = key()
      const id = one.split(':')[1] as string
      const [reader, writer, idle] = [talk(), talk(), talk()]
      await reader.ask('SETEX', one, '1440', DATA)
      for (const client of [reader, writer])
        expect(await client.ask('GETEX', one, 'EX', '1440')).toContain(DATA)
      reader.end()
      expect(await writer.ask('SETEX', one, '1440', `${DATA}other|i:1;`)).toBe('+OK\r\n')
      const after = talk()
      await eventually(async () => {
        // Passes once the gateway has noticed the end of the first connection.
        expect(await after.ask('SETEX', one, '1440', `${DATA}mine|i:1;`)).toBe('+OK\r\n')
        expect((await sessions.read(id))?.data).toEqual({ user: 'ada', n: 1, other: 1, mine: 1 })
      })
      await after.ask('GETEX', one, 'EX', '1440')
      await idle.ask('GETEX', one, 'EX', '1440')
      expect(await idle.ask('EXPIRE', one, '1440')).toBe(':1\r\n')
      const closed = gateway.close()
      expect(await idle.rest()).toBe('')
      expect(await after.ask('SETEX', one, '1440', `${DATA}late|i:1;`)).toBe('+OK\r\n')
      await closed
    })

    test('keeps an unset variable unset after a lost connection, whatever earlier requests had read', async () => {
      const { talk, sessions, healthPort } = await start({ healthPort: 0 })
      const one = key()
      const id = one.split(':')[1] as string
      /** One PHP request on a connection of its own; resolves when the gateway has noticed its end. */
      async function request(...commands: string[][]): Promise<void> {
        const client = talk()
        for (const words of commands) expect(await client.ask(...words)).not.toMatch(/^-/)
        client.end()
        await eventually(async () => {
          const health = await fetch(`http://127.0.0.1:${healthPort}/health`)
          expect(await health.json()).toMatchObject({ connections: 0 })
        })
      }
      const set = (data: string) => ['SETEX', one, '1440', data]
      await request(['GET', one], set('n|i:1;'))
      await request(['GET', one], ['EXPIRE', one, '1440'])
      await request(['GET', one], set(DATA))
      // This request loses its connection after it has read.
      await request(['GET', one])
      await request(set('n|i:1;'))
      expect((await sessions.read(id))?.data).toEqual({ n: 1 })
    })

    test('excludes the clients of all gateways with a lock, until its time limit or the end of its connection', async () => {
      const [here, there] = [await start(), await start()]
      const one = key()
      const lock = `${one}_LOCK`
      const [mine, theirs] = [here.talk(), there.talk()]
      expect(await mine.ask('SET', lock, 'mine', 'NX', 'PX', '30000')).toBe('+OK\r\n')
      expect(await theirs.ask('SET', lock, 'theirs', 'NX', 'PX', '30000')).toBe('$-1\r\n')
      expect(await theirs.ask('GET', lock)).toBe('$4\r\nmine\r\n')
      expect(await theirs.ask('EVALSHA', UNLOCK, '1', lock, 'theirs')).toBe(':0\r\n')
      expect(await mine.ask('EVALSHA', UNLOCK, '1', lock, 'mine')).toBe(':1\r\n')
      expect(await theirs.ask('SET', lock, 'theirs', 'NX')).toBe('+OK\r\n')
      theirs.end()
      await eventually(async () =>
        expect(await mine.ask('SET', lock, 'mine', 'NX', 'PX', '400')).toBe('+OK\r\n'),
      )
      // The time limit has passed, although the connection is open.
      await eventually(async () =>
        expect(await there.talk().ask('SET', lock, 'late', 'NX', 'PX', '30000')).toBe('+OK\r\n'),
      )
      expect(await mine.ask('EVALSHA', 'f'.repeat(40), '1', lock, 'x')).toMatch(/^-NOSCRIPT/)
    })

    test('renews a lock past its lease while its connection is open', async () => {
      const [here, there] = [await start({ lockLease: 3 }), await start()]
      const [holder, other] = [here.talk(), there.talk()]
      const lock = `${key()}_LOCK`
      const id = lock.slice('PHPSESSID:'.length, -'_LOCK'.length)
      expect(await holder.ask('SET', lock, 'mine', 'NX', 'PX', '60000')).toBe('+OK\r\n')
      const [{ ends } = { ends: 0 }] = await leases(id)
      // Past the end of the first lease.
      await eventually(async () => {
        const [lease] = await leases(id)
        expect(lease?.now).toBeGreaterThan(ends)
      })
      expect(await other.ask('SET', lock, 'theirs', 'NX', 'PX', '60000')).toBe('$-1\r\n')
      expect(await other.ask('GET', lock)).toBe('$4\r\nmine\r\n')
      holder.end()
      await eventually(async () =>
        expect(await other.ask('SET', lock, 'theirs', 'NX', 'PX', '60000')).toBe('+OK\r\n'),
      )
    })

    test('requires the password first, and limits the attempts and the input of unauthenticated clients', async () => {
      const { talk } = await start({ password: 'sesame' })
      const client = talk()
      expect(await client.ask('GET', key())).toMatch(/^-NOAUTH/)
      expect(await client.ask('PING')).toMatch(/^-NOAUTH/)
      expect(await client.ask('HELLO', '2')).toMatch(/^-NOAUTH/)
      expect(await client.ask('AUTH', 'wrong')).toMatch(/^-WRONGPASS/)
      expect(await client.ask('AUTH', 'default', 'sesame')).toBe('+OK\r\n')
      expect(await client.ask('PING')).toBe('+PONG\r\n')
      expect(await talk().ask('HELLO', '2', 'AUTH', 'default', 'sesame')).toContain('session-pgsql-server')
      const guesser = talk()
      for (let n = 0; n < 5; n++) expect(await guesser.ask('AUTH', `guess${n}`)).toMatch(/^-WRONGPASS/)
      expect(await guesser.rest()).toBe('')
      const unauthenticated = talk()
      unauthenticated.send('*2\r\n$4\r\nAUTH\r\n$50000\r\n')
      expect(await unauthenticated.rest()).toMatch(/more than 1024/)
    })

    test('refuses connections beyond maxConnections', async () => {
      const { talk } = await start({ maxConnections: 2 })
      const [one, two] = [talk(), talk()]
      expect(await one.ask('PING')).toBe('+PONG\r\n')
      expect(await two.ask('PING')).toBe('+PONG\r\n')
      const three = talk()
      expect(await three.ask('PING')).toMatch(/^-ERR max number of clients/)
      expect(await three.rest()).toBe('')
      two.end()
      await eventually(async () => expect(await talk().ask('PING')).toBe('+PONG\r\n'))
    })

    test('reports an unreachable database by PING, health and every read, until it is reachable again', async () => {
      const { talk, healthPort, proxy } = await startBehindProxy({ healthPort: 0 })
      const client = talk()
      const one = key()
      await client.ask('SETEX', one, '1440', DATA)
      const health = (): Promise<Response> => fetch(`http://127.0.0.1:${healthPort}/health`)
      expect((await health()).status).toBe(200)
      await proxy.refuse()
      proxy.drop()
      expect(await client.ask('GET', one)).toMatch(/^-ERR SERVER_DOWN/)
      expect(await client.ask('SETEX', one, '1440', DATA)).toMatch(/^-ERR/)
      expect(await client.ask('PING')).toMatch(/^-ERR SERVER_DOWN/)
      const down = await health()
      expect(down.status).toBe(503)
      expect(await down.json()).toMatchObject({ status: 'SERVER_DOWN' })
      expect((await fetch(`http://127.0.0.1:${healthPort}/`)).status).toBe(404)
      await proxy.resume()
      await eventually(async () => expect(await client.ask('GET', one)).toContain(DATA))
      expect((await health()).status).toBe(200)
    })

    test('close answers the command in progress and closes the connections', async () => {
      const { gateway, talk, own, proxy } = await startBehindProxy()
      const [busy, idle] = [talk(), talk()]
      for (const client of [busy, idle]) expect(await client.ask('PING')).toBe('+PONG\r\n')
      proxy.holdServerReplies()
      const answer = busy.ask('SETEX', key(), '1440', DATA)
      await eventually(async () => expect(own.status().pending).toBeGreaterThan(0))
      const closed = gateway.close()
      await proxy.resume()
      expect(await answer).toBe('+OK\r\n')
      await closed
      expect(await idle.rest()).toBe('')
      expect(await talk().rest()).toBe('')
    })
  },
  ['postgres'],
)

describe('the command line of the gateway', () => {
  async function runWith(...argv: string[]) {
    const text = { stdout: '', stderr: '' }
    const code = await run(argv, {
      environment: {},
      stdout: { write: (part) => (text.stdout += part) },
      stderr: { write: (part) => (text.stderr += part) },
      signal: AbortSignal.abort('SIGTERM'),
    })
    return { code, ...text }
  }

  test('exits with 2 and says what is wrong', async () => {
    expect(await runWith()).toMatchObject({ code: 2, stderr: expect.stringContaining('gateway') })
    expect(await runWith('gateway', '--host', '0.0.0.0')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('set a password'),
    })
    expect(await runWith('gateway', '--port', 'x')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--port'),
    })
    expect(await runWith('gateway', '--codec', 'igbinary')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('php_serialize'),
    })
    expect(await runWith('gateway', '--tls-cert', '/nowhere')).toMatchObject({ code: 2 })
    expect(await runWith('gateway', '--nonsense')).toMatchObject({ code: 2 })
    expect((await runWith('gateway', '--db', 'password=secret', '--db', 'host=')).stderr).not.toContain(
      'secret',
    )
    expect(await runWith('gateway', '--help')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('php.ini'),
    })
    expect(await runWith('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d/) })
  })
})
