import { expect } from 'vitest'
import type { SaveHandlerOptions } from '../../src/index.ts'
import { type Handler, type Kit, id as newId } from './kit.ts'

/** The table in the README of the C extension, session_pgsql, verbatim. */
export const EXTENSION_TABLE: string = `CREATE TABLE php_session (
  sess_id            text	PRIMARY KEY,
  sess_name          text,
  sess_data          text,
  sess_created       integer,
  sess_modified      integer,
  sess_expire        integer,
  sess_addr_created  text,
  sess_addr_modified text,
  sess_counter       integer,
  sess_error         integer,
  sess_warning       integer,
  sess_notice        integer,
  sess_err_message   text,
  sess_custom        text
)`

/** Expects every operation on a session to work: on one alone, and in batches of three. */
export async function expectUsable(sessions: Handler): Promise<void> {
  await useSession(sessions)
  await Promise.all([1, 2, 3].map(() => useSession(sessions)))
}

async function useSession(sessions: Handler): Promise<void> {
  const id = newId()
  expect((await sessions.write(id, { a: 1 }, { custom: 'c' })).outcome).toBe('created')
  const base = await sessions.read(id)
  expect((await sessions.write(id, { a: 2 }, { base, errors: { errors: 1 } })).outcome).toBe('updated')
  expect((await sessions.write(id, { a: 1, b: 1 }, { base })).session?.data).toEqual({ a: 2, b: 1 })
  expect(await sessions.touch(id, { lifetime: 5000 })).toBe(true)
  expect(await sessions.info(id)).toMatchObject({ custom: 'c', errors: 1, accesses: 4 })
  expect((await sessions.list({ field: 'c' })).map((session) => session.id)).toContain(id)
  await sessions.gc()
  expect(await sessions.destroy(id)).toBe(true)
  expect((await sessions.write(id, {}, { base })).outcome).toBe('gone')
}

/** Returns `db` for a database user who owns nothing, with the privileges on the table, if one is given. */
export async function dbOfAppUser(kit: Kit, table: string | undefined): Promise<SaveHandlerOptions['db']> {
  await kit.query(
    `DO $$ BEGIN CREATE ROLE app_user LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; WHEN unique_violation THEN NULL; END $$`,
  )
  if (table !== undefined) await kit.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO app_user`)
  const { db } = kit.database()
  if (typeof db !== 'string') return db
  const url = new URL(db)
  url.username = 'app_user'
  return url.href
}
