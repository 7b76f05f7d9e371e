import { expect, test } from 'vitest'
import { describeHandler, errorOf } from './kit.ts'
import { lives, userOf } from './table-kit.ts'

describeHandler(
  'A privilege that is missing',
  (kit) => {
    test.each(['SELECT', 'INSERT', 'UPDATE', 'DELETE'])(
      '%s is named, with the command that mends it',
      async (privilege) => {
        const table = `no_${privilege.toLowerCase()}`
        await kit.open({ table }).open()
        const sessions = kit.open({ table, db: await userOf(kit, table) })
        await lives(sessions)
        await kit.query(`REVOKE ${privilege} ON ${table} FROM app_user`)
        const fresh = kit.open({ table, db: await userOf(kit, undefined) })
        const error = await errorOf(fresh.open())
        expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
        expect(error.message).toContain(privilege)
        expect(error.message).toMatch(
          new RegExp(`GRANT [A-Z, ]*${privilege}[A-Z, ]* ON "public"."${table}" TO "app_user"`),
        )
        // Lost under way, the same.
        const use = {
          SELECT: () => sessions.read('x'),
          INSERT: () => sessions.write('x', {}),
          UPDATE: () => sessions.touch('x'),
          DELETE: () => sessions.destroy('x'),
        }[privilege]
        const lost = await errorOf(use?.() as Promise<unknown>)
        expect(lost).toMatchObject({ code: 'PRIVILEGE_MISSING' })
        expect(lost.message).toContain('GRANT')
        await kit.query(`GRANT ${privilege} ON ${table} TO app_user`)
        await lives(sessions)
        await lives(fresh)
      },
    )

    test('USAGE on the schema is named', async () => {
      await kit.query('CREATE SCHEMA closed')
      await kit.open({ table: 'closed.sessions' }).open()
      const sessions = kit.open({ table: 'closed.sessions', db: await userOf(kit, 'closed.sessions') })
      const error = await errorOf(sessions.read('x'))
      expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
      expect(error.message).toContain('GRANT USAGE ON SCHEMA "closed" TO "app_user"')
      await kit.query('GRANT USAGE ON SCHEMA closed TO app_user')
      await lives(sessions)
    })

    test('CREATE on the schema is named if the table is missing, and not needed if it is there', async () => {
      await kit.query('CREATE SCHEMA theirs')
      const db = await userOf(kit, undefined)
      await kit.query('GRANT USAGE ON SCHEMA theirs TO app_user')
      const sessions = kit.open({ table: 'theirs.sessions', db })
      const error = await errorOf(sessions.open())
      expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
      expect(error.message).toContain('GRANT CREATE ON SCHEMA "theirs" TO "app_user"')
      await kit.open({ table: 'theirs.sessions' }).open()
      await userOf(kit, 'theirs.sessions')
      await lives(sessions)
    })
  },
  'postgres only',
)
