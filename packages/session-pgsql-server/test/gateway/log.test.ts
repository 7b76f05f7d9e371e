import { expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { DATA, gateways } from './kit.ts'

describeOnEveryKind(
  "the gateway's log",
  (server) => {
    const { start, startBehindProxy, key } = gateways(server)

    async function logged() {
      const lines: string[] = []
      const gateway = await start({ log: (line) => lines.push(line), maxValue: 10_000 })
      return { ...gateway, lines }
    }

    test.each([
      [
        'is not in the encoding of --codec',
        'no secret session',
        /INVALID_DATA .*session\.serialize_handler = php.*byte/,
      ],
      [
        'is nested too deep',
        `x|${'a:1:{i:0;'.repeat(600)}i:1;${'}'.repeat(600)}`,
        /INVALID_DATA .*\(.*(deep|nested|levels)/,
      ],
    ])(
      'has one line in ten seconds with the reason and the shortened id if a session %s',
      async (_, data, reason) => {
        const { talk, lines } = await logged()
        const client = talk()
        const one = key()
        const id = one.split(':')[1] as string
        for (let n = 0; n < 20; n++) expect(await client.ask('SETEX', one, '1440', data)).toMatch(/^-ERR/)
        expect(lines).toHaveLength(1)
        expect(lines[0]).toContain(`SETEX of session ${id.slice(0, 8)}… failed: `)
        expect(lines[0]).toMatch(reason)
        expect(lines[0]).not.toContain(id)
        expect(lines[0]).not.toContain('secret')
      },
    )

    test('says that a session is too large', async () => {
      const { talk, lines } = await logged()
      const one = key()
      const client = talk()
      expect(await client.ask('SETEX', one, '1440', 'x'.repeat(20_000))).toMatch(/more than 10000/)
      expect(lines).toEqual([
        `refused SETEX of session ${one.split(':')[1]?.slice(0, 8)}… from 127.0.0.1: bulk length is more than 10000`,
      ])
    })

    test('says why a key is refused, and nothing that a client has made up', async () => {
      const { talk, lines } = await logged()
      const client = talk()
      for (const words of [
        ['GET', 'PHPSESSID:evil:made-up'],
        ['made-up', 'made-up'],
        ['SELECT', '1'],
      ]) {
        await client.ask(...words)
      }
      expect(lines[0]).toMatch(/^GET of session with an invalid key failed: INVALID_KEY/)
      expect(lines[1]).toMatch(/NODB there is only database 0/)
      expect(lines).toHaveLength(2)
      expect(lines.join()).not.toContain('made-up')
    })

    test('says that the database is unreachable', async () => {
      const lines: string[] = []
      const { talk, proxy } = await startBehindProxy({ log: (line) => lines.push(line) })
      const client = talk()
      const one = key()
      await client.ask('SETEX', one, '1440', DATA)
      await proxy.refuse()
      proxy.drop()
      for (let n = 0; n < 3; n++) expect(await client.ask('GET', one)).toMatch(/^-ERR SERVER_DOWN/)
      expect(lines.length).toBeGreaterThan(0)
      expect(lines.every((line) => line.startsWith('GET of session kkkkkkkk… failed: SERVER_DOWN'))).toBe(
        true,
      )
      expect(lines.length).toBeLessThan(3)
    })
  },
  ['postgres'],
)
