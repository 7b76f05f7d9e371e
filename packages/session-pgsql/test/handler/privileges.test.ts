import { expect, test } from 'vitest'
import { describeHandler, errorOf } from './kit.ts'
import { dbOfAppUser, expectUsable } from './table-kit.ts'

describeHandler(
  'A missing privilege',
  (kit) => {
    test.each(['SELECT', 'INSERT', 'UPDATE', 'DELETE'])(
      '%s is named in the error, with the GRANT statement',
      async (privilege) => {
        const table = `no_${privilege.toLowerCase()}`
        await kit.open({ table }).open()
        const sessions = kit.open({ table, db: await dbOfAppUser(kit, table) })
        await expectUsable(sessions)
        await kit.query(`REVOKE ${privilege} ON ${table} FROM app_user`)
        const fresh = kit.open({ table, db: await dbOfAppUser(kit, undefined) })
        const error = await errorOf(fresh.open())
        expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
        expect(error.message).toContain(privilege)
        expect(error.message).toMatch(
          new RegExp(`GRANT [A-Z, ]*${privilege}[A-Z, ]* ON "public"."${table}" TO "app_user"`),
        )
        // Also if it is revoked after the table was opened.
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
        await expectUsable(sessions)
        await expectUsable(fresh)
      },
    )

    test('USAGE on the schema is named in the error', async () => {
      await kit.query('CREATE SCHEMA closed')
      await kit.open({ table: 'closed.sessions' }).open()
      const sessions = kit.open({ table: 'closed.sessions', db: await dbOfAppUser(kit, 'closed.sessions') })
      const error = await errorOf(sessions.read('x'))
      expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
      expect(error.message).toContain('GRANT USAGE ON SCHEMA "closed" TO "app_user"')
      await kit.query('GRANT USAGE ON SCHEMA closed TO app_user')
      await expectUsable(sessions)
    })

    test('CREATE on the schema is named in the error if the table is missing, and not needed if it exists', async () => {
      await kit.query('CREATE SCHEMA theirs')
      const db = await dbOfAppUser(kit, undefined)
      await kit.query('GRANT USAGE ON SCHEMA theirs TO app_user')
      const sessions = kit.open({ table: 'theirs.sessions', db })
      const error = await errorOf(sessions.open())
      expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
      expect(error.message).toContain('GRANT CREATE ON SCHEMA "theirs" TO "app_user"')
      await kit.open({ table: 'theirs.sessions' }).open()
      await dbOfAppUser(kit, 'theirs.sessions')
      await expectUsable(sessions)
    })
  },
  'postgres only',
)
