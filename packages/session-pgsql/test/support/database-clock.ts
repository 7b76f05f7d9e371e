import type { FreshDatabase } from './servers.ts'

/** A database whose clock a test sets, without waiting: PostgreSQL's own function is replaced in this database. */
export interface DatabaseClock {
  /** Moves the clocks of the database and of this process. */
  advance(seconds: number): Promise<void>
  restore(): void
}

/**
 * @param skew seconds by which the database's clock is ahead of this machine's
 */
export async function useDatabaseClock(database: FreshDatabase, skew: number): Promise<DatabaseClock> {
  await database.query('CREATE TABLE IF NOT EXISTS public.test_clock (seconds double precision)')
  await database.query('TRUNCATE public.test_clock')
  await database.query('INSERT INTO public.test_clock VALUES ($1)', [skew])
  await database.query(`
    SET allow_system_table_mods = on;
    DO $$ BEGIN
      IF to_regproc('pg_catalog.real_clock_timestamp') IS NULL THEN
        ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock_timestamp;
        CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
          AS 'SELECT pg_catalog.real_clock_timestamp() + make_interval(secs => (SELECT seconds FROM public.test_clock))';
      END IF;
    END $$`)
  const { performance } = globalThis
  const realNow = performance.now
  const realDate = Date.now
  let advanced = 0
  performance.now = () => realNow.call(performance) + advanced * 1000
  Date.now = () => realDate() + advanced * 1000
  return {
    async advance(seconds) {
      advanced += seconds
      await database.query('UPDATE public.test_clock SET seconds = $1', [skew + advanced])
    },
    restore() {
      performance.now = realNow
      Date.now = realDate
    },
  }
}
