import { describe, expect, test } from 'vitest'
import { describeWithCommand, json } from './place.ts'

describeWithCommand('sessions on the command line', (setup) => {
  describe('list', () => {
    test('filters by hostile values, and prints no control characters', async () => {
      const { run, write } = await setup()
      const fields = [
        "O'Brien",
        '"; DROP TABLE php_session; --',
        '--json',
        '%',
        '\u001b[31mred\u202e',
        '日本',
      ]
      for (const [at, field] of fields.entries()) {
        await write(
          `session-number-${at}`,
          {},
          { custom: field, name: at < 2 ? 'app' : 'other', address: `192.0.2.${at}` },
        )
      }
      for (const [at, field] of fields.entries()) {
        const { sessions } = json(await run(['list', '--json', '--full-ids', '--field', field]))
        expect(sessions.map(({ id }: { id: string }) => id)).toEqual([`session-number-${at}`])
        expect(sessions[0].custom).toBe(field)
      }
      const all = await run(['list'])
      for (const character of ['\u001b', '\u202e']) expect(all.stdout).not.toContain(character)
      expect(all.stdout).toContain('\\u{1b}[31mred')
      expect(json(await run(['list', '--json', '--name', 'app'])).sessions).toHaveLength(2)
      expect(json(await run(['list', '--json', '--address', '192.0.2.3'])).sessions).toHaveLength(1)
      expect(json(await run(['list', '--json', '--field', '%', '--name', 'app'])).sessions).toEqual([])
    })

    test('shortens ids unless --full-ids is set, and shows no data', async () => {
      const { run, write } = await setup()
      const id = 'abcdefghijklmnopqrstuvwxyz'
      await write(id, { secret: 'in the data' })
      for (const flags of [[], ['--json']]) {
        const short = await run(['list', ...flags])
        expect(short.stdout).toContain('abcdefgh…')
        expect(short.stdout).not.toContain(id)
        const full = await run(['list', '--full-ids', ...flags])
        expect(full.stdout).toContain(id)
        expect(short.stdout + full.stdout).not.toContain('in the data')
      }
    })

    test('sorts, and reaches every session page by page', async () => {
      const { database, run, write } = await setup()
      for (const [at, id] of ['a', 'b', 'c', 'd', 'e'].entries()) await write(id, {}, { lifetime: 1000 + at })
      await database.query(
        'UPDATE php_session SET sess_counter = ascii(sess_id) % 3, sess_modified = ascii(sess_id)',
      )
      const ids = async (...argv: string[]): Promise<string> => {
        let found = ''
        let after: string[] = []
        for (;;) {
          const page = json(await run(['list', '--json', '--limit', '2', ...argv, ...after]))
          expect(page.sessions.length).toBeLessThanOrEqual(2)
          found += page.sessions.map(({ id }: { id: string }) => id).join('')
          if (page.next === null) return found
          after = ['--after', page.next]
        }
      }
      expect(await ids()).toBe('edcba')
      expect(await ids('--sort', 'id')).toBe('abcde')
      expect(await ids('--sort', '-id')).toBe('edcba')
      expect(await ids('--sort', '-accesses')).toBe('ebdac')
      expect(await ids('--sort=expires')).toBe('abcde')
      expect((await run(['list', '--limit', '2'])).stdout).toMatch(/Next page: --after \S+\n$/)
    })

    test('lists active sessions, expired ones or both, but takes one of these options only', async () => {
      const { database, run, write } = await setup()
      await write('live', {})
      await write('expired', {})
      await database.query("UPDATE php_session SET sess_expire = 1 WHERE sess_id = 'expired'")
      const ids = async (...argv: string[]) =>
        json(await run(['list', '--json', '--sort', 'id', ...argv])).sessions.map(
          (one: { id: string; active: boolean }) => [one.id, one.active],
        )
      expect(await ids()).toEqual([['live', true]])
      expect(await ids('--active')).toEqual([['live', true]])
      expect(await ids('--expired')).toEqual([['expired', false]])
      expect(await ids('--all')).toEqual([
        ['expired', false],
        ['live', true],
      ])
      expect((await run(['list', '--all', '--expired'])).code).toBe(2)
    })

    test('truncates columns to a terminal of 80 columns, but not in a pipe', async () => {
      const { run, write } = await setup()
      const name = 'n'.repeat(60)
      await write(
        'x'.repeat(40),
        {},
        { name, custom: 'c'.repeat(200), address: '2001:db8:1111:2222:3333:4444:5555:6666' },
      )
      const onTerminal = await run(['list'], { terminal: 80, environment: { NO_COLOR: '1' } })
      for (const line of onTerminal.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
      expect(onTerminal.stdout).not.toContain('\u001b')
      expect((await run(['list'], { terminal: 80 })).stdout).toContain('\u001b[1m')
      expect((await run(['list'])).stdout).toContain(name)
    })
  })

  describe('show', () => {
    test('shows active and expired sessions, and their data only with --data', async () => {
      const { database, run, write } = await setup()
      const id = '-Dashes-And_0123456789abcdefghij'
      await write(
        id,
        { secret: 'in the \u009b data' },
        { custom: '4711', errors: { errors: 2, message: 'boom' } },
      )
      const shown = await run(['show', id])
      expect(shown.code).toBe(0)
      expect(shown.stdout).toMatch(/Field +4711\nState +active\n/)
      expect(shown.stdout).toContain('2 errors, 0 warnings')
      expect(shown.stdout).not.toContain('secret')
      const [without] = json(await run(['show', id, '--json'])).sessions
      // Programs depend on these names.
      expect(Object.keys(without).join(' ')).toBe(
        'id name custom active created modified expires endsAt addressCreated addressModified accesses errors warnings notices errorMessage server',
      )

      const data = await run(['show', '--data', id])
      expect(data.stdout).toContain('"secret": "in the \\u{9b} data"')
      const [session] = json(await run(['show', '--data', '--json', '--full-ids', '--', id])).sessions
      expect(session).toMatchObject({ id, custom: '4711', errors: 2, errorMessage: 'boom', active: true })
      expect(JSON.parse(session.text)).toEqual({ secret: 'in the \u009b data' })

      await database.query('UPDATE php_session SET sess_expire = 1')
      expect((await run(['show', id])).stdout).toMatch(/State +expired/)
    })

    test('exits with 1 if the session does not exist, and with 2 if the id is invalid', async () => {
      const { run } = await setup()
      expect(await run(['show', 'nobody'])).toEqual({
        code: 1,
        stdout: '',
        stderr: 'session-pgsql: the session does not exist\n',
      })
      expect(json(await run(['show', 'nobody', '--json']))).toEqual({ sessions: [] })
      expect((await run(['show', 'abcdefgh…'])).code).toBe(2)
      expect((await run(['show'])).code).toBe(2)
      expect((await run(['show', 'a', 'b'])).code).toBe(2)
    })
  })

  describe('destroy', () => {
    test('destroys by id, even if the id looks like an option', async () => {
      const { database, run, write } = await setup()
      for (const id of ['-a', '--bcd', 'c', 'd']) await write(id, {})
      expect(await run(['destroy', '-a'])).toEqual({ code: 0, stdout: '1 session destroyed.\n', stderr: '' })
      expect((await run(['destroy', '--bcd'])).code).toBe(2)
      expect((await run(['destroy', '--json', '--', '--bcd'])).stdout).toContain('"destroyed": 1')
      const some = await run(['destroy', 'c', 'gone'])
      expect(some).toMatchObject({ code: 1, stdout: '1 session destroyed.\n' })
      expect(some.stderr).toContain('1 of 2 sessions do not exist or have expired')
      expect(await database.query('SELECT sess_id FROM php_session')).toEqual([{ sess_id: 'd' }])
    })

    test('destroys by field, and exits with 0 if no session has that field', async () => {
      const { run, write } = await setup()
      for (const id of ['one', 'two', 'three']) await write(id, {}, { custom: id === 'three' ? '8' : "-7'" })
      expect(json(await run(['destroy', '--field', "-7'", '--json']))).toEqual({ destroyed: 2 })
      expect(await run(['destroy', "--field=-7'"])).toEqual({
        code: 0,
        stdout: '0 sessions destroyed.\n',
        stderr: '',
      })
      expect((await run(['destroy', '--field', '8', 'three'])).code).toBe(2)
      expect((await run(['destroy'])).code).toBe(2)
      expect(json(await run(['list', '--json'])).sessions).toHaveLength(1)
    })

    test('--all destroys all sessions, or those of one name, after the user has confirmed', async () => {
      const { run, write } = await setup()
      for (const id of ['one', 'two']) await write(id, {})
      await write('three', {}, { name: 'other' })
      const left = async () => json(await run(['list', '--json'])).sessions.length
      expect(await run(['destroy', '--all'])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('add --yes'),
      })
      for (const wrong of [['one'], ['--field', '7']]) {
        expect((await run(['destroy', '--all', '--yes', ...wrong])).code).toBe(2)
      }
      expect((await run(['destroy', 'one', '--yes'])).code).toBe(2)
      const questions: string[] = []
      const confirm = (answer: boolean) => async (question: string) => {
        questions.push(question)
        return answer
      }
      expect(await run(['destroy', '--all'], { confirm: confirm(false) })).toMatchObject({
        code: 1,
        stdout: '',
      })
      expect(await left()).toBe(3)
      expect(await run(['destroy', '--all', '--name', 'other'], { confirm: confirm(true) })).toMatchObject({
        code: 0,
        stdout: '1 session destroyed.\n',
      })
      expect(questions).toEqual([
        expect.stringMatching(/^Destroy all sessions of all users on /),
        expect.stringMatching(/^Destroy all sessions with the name other of all users on /),
      ])
      expect(json(await run(['destroy', '--all', '--yes', '--json']))).toEqual({ destroyed: 2 })
      expect(await left()).toBe(0)
    })
  })
})
