import { expect, test, vi } from 'vitest'
import { isRunning } from '../support/process-tree.ts'
import { runWorkers, startWorkers } from '../support/processes.ts'
import { until } from '../support/wait.ts'
import { describeHandler, id as newId } from './kit.ts'
import type { Task } from './processes-worker.ts'

// Processes, stalls and megabytes, on machines that are busy.
vi.setConfig({ testTimeout: 60_000 })

const WORKER = new URL('./processes-worker.ts', import.meta.url)

/** Of what several processes do to one database; PGlite is inside one. */
describeHandler(
  'Several processes',
  (kit) => {
    const url = (): string => kit.database().db as string

    test('8 start at once on an empty database: one table each, no error', async () => {
      const database = await kit.server.freshDatabase()
      const tables = ['php_session', '"Another one"']
      const task: Task = { task: 'open', url: database.db as string, tables }
      expect(await runWorkers(WORKER, Array(8).fill(task))).toEqual(Array(8).fill('opened'))
      // Each with the journal beside it.
      expect(
        await database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"),
      ).toEqual(
        ['Another one', 'Another one_event', 'php_session', 'php_session_event'].map((tablename) => ({
          tablename,
        })),
      )
      expect(
        await database.query('SELECT indexname FROM pg_indexes WHERE schemaname = $1', ['public']),
      ).toHaveLength(10)
      expect(await database.query('SELECT 1 FROM "Another one"')).toHaveLength(8)
      await database.drop()
    })

    test('8 set 100 keys in one session at once: all are there, and none fails', async () => {
      const sessions = kit.open()
      const id = newId()
      await sessions.write(id, { start: true })
      const keys = Array.from({ length: 100 }, (_, n) => `key${n}`)
      const shares = Array.from({ length: 8 }, (_, n) => keys.filter((_, index) => index % 8 === n))
      const workers = await startWorkers<string[]>(
        WORKER,
        shares.map((share): Task => ({ task: 'keys', url: url(), id, keys: share })),
      )
      await Promise.all(workers.map((worker) => worker.receive()))
      for (const worker of workers) worker.send('go')
      const outcomes = (await Promise.all(workers.map((worker) => worker.result))).flat()
      expect(outcomes.filter((outcome) => outcome !== 'updated' && outcome !== 'merged')).toEqual([])
      const session = await sessions.read(id)
      expect(Object.keys(session?.data ?? {}).sort()).toEqual([...keys, 'start'].sort())
      expect(session?.accesses).toBe(101)
    })

    test('8 update a counter 100 times at once: each sees a number of its own, up to 100', async () => {
      const sessions = kit.open()
      const id = newId()
      await sessions.write(id, { n: 0 })
      const workers = await startWorkers<number[]>(
        WORKER,
        Array.from(
          { length: 8 },
          (_, n): Task => ({ task: 'count', url: url(), id, times: n < 4 ? 13 : 12 }),
        ),
      )
      await Promise.all(workers.map((worker) => worker.receive()))
      for (const worker of workers) worker.send('go')
      const counts = (await Promise.all(workers.map((worker) => worker.result))).flat()
      expect(counts.toSorted((one, other) => one - other)).toEqual(
        Array.from({ length: 100 }, (_, n) => n + 1),
      )
      expect(await sessions.read(id)).toMatchObject({ data: { n: 100 }, accesses: 101 })
    })

    test('a process ends by itself after close', async () => {
      const [worker] = await startWorkers(WORKER, [{ task: 'exit', url: url(), id: newId() } satisfies Task])
      expect(await worker?.receive()).toBe('closed')
      await until(() => !isRunning(worker?.pid ?? 0), 'the process to end', 10_000)
      expect(worker?.output).toBe('')
    })

    test.each([7200, -7200, 1800])('a clock %s seconds wrong', async (seconds) => {
      const sessions = kit.open()
      const id = newId()
      await sessions.open()
      await kit.query('DELETE FROM php_session')
      await sessions.write(id, {})
      await kit.query('UPDATE php_session SET sess_expire = 1000, sess_sweep = 0 WHERE sess_id = $1', [id])
      const [told] = await runWorkers(WORKER, [{ task: 'clock', url: url(), seconds } satisfies Task])
      const swept = Math.abs(seconds) < 3600
      expect(told).toMatchObject(
        swept ? { result: 1 } : { result: 'CLOCK_IMPLAUSIBLE', heard: 'CLOCK_IMPLAUSIBLE' },
      )
      expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toHaveLength(
        swept ? 0 : 1,
      )
    })

    test('of other time zones read what was written here', async () => {
      const sessions = kit.open()
      const id = newId()
      const { session } = await sessions.write(id, { text: 'Zürich – 東京 😀' })
      const zones = ['America/St_Johns', 'Pacific/Kiritimati']
      for (const TZ of zones) {
        const [read] = await runWorkers(WORKER, [{ task: 'read', url: url(), id } satisfies Task], {
          env: { TZ },
        })
        expect(read).toMatchObject({
          data: { text: 'Zürich – 東京 😀' },
          outcome: 'updated',
          created: session?.created?.toISOString(),
        })
        expect((read as { zone: number }).zone).not.toBe(0)
      }
      expect((await sessions.read(id))?.data).toEqual({ text: 'Zürich – 東京 😀', zone: zones[1] })
      await kit.query(`ALTER DATABASE "${new URL(url()).pathname.slice(1)}" SET timezone = 'Asia/Tokyo'`)
      const [later] = await runWorkers(WORKER, [{ task: 'read', url: url(), id } satisfies Task], {
        env: { TZ: 'America/Lima' },
      })
      expect(later).toMatchObject({ outcome: 'updated', created: session?.created?.toISOString() })
    })
  },
  'postgres only',
)
