import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { until } from '../support/wait.ts'
import { runHere, start } from './command-line.ts'
import { describeWithCommand, json } from './place.ts'

describeWithCommand('the program', (setup) => {
  test('reads the database from the environment, and exits with the exit code', async () => {
    const { db } = await setup()
    const fine = await start(['list', '--json'], { DATABASE_URL: db }).ended
    expect(fine).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(fine.stdout)).toEqual({ sessions: [], next: null })
    expect((await start(['show', 'nobody'], { SESSION_PGSQL_DB: db }).ended).code).toBe(1)
    expect((await start(['list', '--nonsense'], {}).ended).code).toBe(2)
  }, 60_000)

  test('ends without an error when the reader closes the pipe', async () => {
    const { database, db } = await setup()
    await database.query(
      "INSERT INTO php_session (sess_id, sess_err_message) SELECT 'id' || n, repeat('m', 500) FROM generate_series(1, 2000) n",
    )
    const { child, ended } = start(['list', '--json', '--limit', '10000', '--db', db])
    child.stdout.once('data', () => child.stdout.destroy())
    expect(await ended).toMatchObject({ code: 0, stderr: '' })
  }, 60_000)

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'ends on %s while a statement waits for a lock',
    async (signal, code) => {
      const { database, db } = await setup()
      const holder = new Client({ connectionString: db })
      await holder.connect()
      try {
        await holder.query('BEGIN; LOCK TABLE php_session')
        const { child, ended } = start(['list', '--timeout', '600', '--db', db])
        await until(async () => {
          const waiting = await database.query(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
          )
          return waiting.length > 0
        }, 'the command to wait for the lock')
        child.kill(signal)
        expect(await ended).toMatchObject({ code, signal: null, stdout: '', stderr: '' })
      } finally {
        await holder.end()
      }
    },
    60_000,
  )

  test('reads a php.ini, and exits with 2 if the file is missing', async () => {
    const { db } = await setup()
    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-'))
    try {
      const ini = join(folder, 'php.ini')
      await writeFile(ini, `[session]\nsession_pgsql.db = "${db}" ; here\nsession_pgsql.keep_expired = On\n`)
      const { code, stdout } = await runHere(['status', '--json', '--ini', ini])
      expect(code).toBe(0)
      expect(JSON.parse(stdout).settings).toMatchObject({ keepExpired: true })
      expect((await runHere(['status', '--ini', join(folder, 'missing.ini')])).code).toBe(2)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

describe('the command on an embedded PostgreSQL', () => {
  test('runs init, list, doctor, gc and destroy', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-'))
    const db = `pglite:${join(folder, 'data')}`
    try {
      const run = (command: string, ...argv: string[]) => runHere([command, '--db', db, ...argv])
      expect((await run('init')).stdout).toMatch(/ created\n$/)
      const handler = new SaveHandler({ db, gcInterval: 0 })
      await handler.write('one', { visits: 1 }, { custom: '7' })
      await handler.write('two', { visits: 2 })
      await handler.close()
      expect(json(await run('list', '--json', '--field', '7')).sessions).toMatchObject([{ id: 'one' }])
      expect((await run('doctor', '--json')).code).toBe(0)
      expect((await run('gc')).stdout).toMatch(/^0 expired/)
      expect(await run('destroy', 'one')).toMatchObject({ code: 0 })
      expect(json(await run('list', '--json')).sessions).toMatchObject([{ id: 'two' }])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 120_000)
})
