import { expect, test, vi } from 'vitest'
import { isRunning } from '../support/process-tree.ts'
import { runWorkers, startWorkers } from '../support/processes.ts'
import { until } from '../support/wait.ts'
import { describeHandler, id as newId } from './kit.ts'
import type { Task } from './processes-worker.ts'

// Processes, stalls and large data take time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const WORKER = new URL('./processes-worker.ts', import.meta.url)

/** Processes that share a database. PGlite belongs to one process. */
describeHandler(
  'Several processes',
  (kit) => {
    const url = (): string => kit.database().db as string

    test('create each table once when 8 start at the same time', async () => {
      const database = await kit.server.freshDatabase()
      const tables = ['php_session', '"Another one"']
      const task: Task = { task: 'open', url: database.db as string, tables }
      expect(await runWorkers(WORKER, Array(8).fill(task))).toEqual(Array(8).fill('opened'))
      // Each with its journal.
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

    test('keep all of 100 keys that 8 set in one session at the same time', async () => {
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

    test('8 append 100 elements to one list at once: each is there once', async () => {
      const sessions = kit.open()
      const id = newId()
      await sessions.write(id, { cart: ['first'] })
      const elements = Array.from({ length: 100 }, (_, n) => n)
      const shares = Array.from({ length: 8 }, (_, n) => elements.filter((element) => element % 8 === n))
      const workers = await startWorkers<string[]>(
        WORKER,
        shares.map((share): Task => ({ task: 'push', url: url(), id, elements: share })),
      )
      await Promise.all(workers.map((worker) => worker.receive()))
      for (const worker of workers) worker.send('go')
      const outcomes = (await Promise.all(workers.map((worker) => worker.result))).flat()
      expect(outcomes.filter((outcome) => outcome !== 'updated' && outcome !== 'merged')).toEqual([])
      const [first, ...others] = (await sessions.read(id))?.data.cart ?? []
      expect(first).toBe('first')
      expect(others.toSorted((one: number, other: number) => one - other)).toEqual(elements)
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

    test('end by themselves after close', async () => {
      const [worker] = await startWorkers(WORKER, [{ task: 'exit', url: url(), id: newId() } satisfies Task])
      expect(await worker?.receive()).toBe('closed')
      await until(() => !isRunning(worker?.pid ?? 0), 'the process to end', 10_000)
      expect(worker?.output).toBe('')
    })

    test.each([7200, -7200, 90, 30, -30])(
      'with a clock that is wrong by %s seconds sweep only if the difference is below a minute',
      async (seconds) => {
        const sessions = kit.open()
        const id = newId()
        await sessions.open()
        await kit.query('DELETE FROM php_session')
        await sessions.write(id, {})
        await kit.query('UPDATE php_session SET sess_expire = 1000, sess_sweep = 0 WHERE sess_id = $1', [id])
        const [report] = await runWorkers(WORKER, [{ task: 'clock', url: url(), seconds } satisfies Task])
        const swept = Math.abs(seconds) < 60
        expect(report).toMatchObject(
          swept ? { result: 1 } : { result: 'CLOCK_IMPLAUSIBLE', eagerError: 'CLOCK_IMPLAUSIBLE' },
        )
        expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toHaveLength(
          swept ? 0 : 1,
        )
      },
    )

    test('in other time zones read the same dates and data', async () => {
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
