import { existsSync, mkdtempSync } from 'node:fs'
import { chmod, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { startPostgres } from '../support/postgres.ts'
import { childrenOf, isRunning } from '../support/process-tree.ts'
import { startWorker, startWorkers } from '../support/processes.ts'
import { usePostgres } from '../support/servers.ts'
import { sleep, until, within } from '../support/wait.ts'

describe.each(['18', '15'] as const)('a PostgreSQL %s server of a test', (version) => {
  const server = usePostgres({ version, timezone: 'Asia/Kolkata', settings: { work_mem: '5MB' } })

  test('runs with the requested settings, and not as root', async () => {
    const [row] = await server().query(`
      SELECT current_setting('server_version_num')::int / 10000 AS major, current_setting('TimeZone') AS zone,
        current_setting('work_mem') AS work_mem, current_setting('fsync') AS fsync,
        current_setting('server_encoding') AS encoding`)
    expect(row).toEqual({
      major: Number(version),
      zone: 'Asia/Kolkata',
      work_mem: '5MB',
      fsync: 'on',
      encoding: 'UTF8',
    })
    expect((await stat(server().dataDir)).uid).not.toBe(0)
    expect(server().log()).toContain('ready to accept connections')
  })

  test('creates databases with other encodings', async () => {
    const conninfo = await server().createDatabase('latin', { encoding: 'LATIN1' })
    expect(conninfo).toContain(`port=${server().port} dbname=latin`)
    expect(await server().query('SHOW server_encoding', [], 'latin')).toEqual([{ server_encoding: 'LATIN1' }])
  })

  test('stops in every mode, and starts again on the same port with its data', async () => {
    const { port } = server()
    await server().query('CREATE TABLE kept (a int)')
    for (const mode of ['smart', 'fast', 'immediate'] as const) {
      await server().stop(mode)
      expect(server().running).toBe(false)
      await expect(server().query('SELECT 1')).rejects.toThrow('ECONNREFUSED')
      await server().start()
      expect(server().port).toBe(port)
      expect(await server().query('SELECT * FROM kept')).toEqual([])
    }
    const before = server().pid
    await server().restart()
    expect(server().pid).not.toBe(before)
  })

  test('ends with all its children on kill -9, and keeps committed data', async () => {
    await server().query('CREATE TABLE committed AS SELECT 7 AS a')
    const pids = [server().pid, ...childrenOf(server().pid)]
    expect(pids.length).toBeGreaterThan(3)
    await server().kill9()
    expect(pids.filter(isRunning)).toEqual([])
    await server().start()
    expect(server().log()).toContain('was not properly shut down')
    expect(await server().query('SELECT a FROM committed')).toEqual([{ a: 7 }])
  })

  test('does not answer old or new connections while paused, and answers them after it resumes', async () => {
    const { host, port } = server()
    const client = new pg.Client({ host, port, user: 'postgres', database: 'postgres' })
    await client.connect()
    await client.query('SELECT 1')
    server().pause()
    const old = client.query('SELECT 2 AS a')
    const fresh = server().query('SELECT 3 AS a')
    const first = Promise.race([old, fresh])
    expect(await Promise.race([first, sleep(300).then(() => 'nothing')])).toBe('nothing')
    server().resume()
    expect((await within(old, 5000, 'the old connection')).rows).toEqual([{ a: 2 }])
    expect(await within(fresh, 5000, 'the new connection')).toEqual([{ a: 3 }])
    await client.end()
  })

  test('can be stopped and killed while paused', async () => {
    server().pause()
    await server().stop()
    await server().start()
    server().pause()
    await server().kill9()
    await server().start()
    expect(await server().query('SELECT 1 AS a')).toEqual([{ a: 1 }])
  })
})

test('a removed server leaves no files; a kept server leaves its folder', async () => {
  const [one, two] = await Promise.all([startPostgres({ version: '18' }), startPostgres({ version: '18' })])
  expect(one.port).not.toBe(two.port)
  const pids = [one, two].flatMap((server) => [server.pid, ...childrenOf(server.pid)])
  two.keep()
  await Promise.all([one.remove(), two.remove()])
  expect(pids.filter(isRunning)).toEqual([])
  expect(existsSync(one.folder)).toBe(false)
  expect(existsSync(two.dataDir)).toBe(true)
  await rm(two.folder, { recursive: true })
})

test('the start fails if the requested port is in use', async () => {
  const one = await startPostgres({ version: '18' })
  await expect(startPostgres({ version: '18', port: one.port })).rejects.toThrow('could not bind')
  await one.remove()
})

test.each([
  ['ends without stopping it', 'exit', false],
  ['is killed with -9', 'kill', false],
  ['is killed while it is paused', 'pause', false],
  ['is killed, and its folder is kept if requested', 'keep', true],
])('the server stops if its process %s', async (_, how, kept) => {
  const module = new URL('./workers/start-postgres.ts', import.meta.url)
  const worker = await startWorker(module, how)
  const { folder, pid } = (await worker.receive()) as { folder: string; pid: number }
  expect(isRunning(pid)).toBe(true)
  if (how === 'exit') await worker.result
  else await worker.kill()
  await until(() => !isRunning(pid), 'PostgreSQL to end', 10_000)
  if (kept) {
    await sleep(300)
    expect(existsSync(join(folder, 'data'))).toBe(true)
    await rm(folder, { recursive: true })
  } else {
    await until(() => !existsSync(folder), 'the folder to be removed', 10_000)
  }
})

test('several processes can build the cache at the same time', async () => {
  const TMPDIR = mkdtempSync(join(tmpdir(), 'session-pgsql-test-'))
  // PostgreSQL's user must be able to enter the folder.
  await chmod(TMPDIR, 0o755)
  try {
    const module = new URL('./workers/start-postgres.ts', import.meta.url)
    const workers = await startWorkers(module, ['exit', 'exit', 'exit'], { env: { TMPDIR } })
    await Promise.all(workers.map((worker) => worker.result))
    for (const worker of workers) {
      const { folder } = (await worker.receive()) as { folder: string }
      expect(folder.startsWith(TMPDIR)).toBe(true)
      await until(() => !existsSync(folder), 'the folder to be removed', 10_000)
    }
  } finally {
    await rm(TMPDIR, { recursive: true, force: true })
  }
})
