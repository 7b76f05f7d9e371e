import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { usePostgres } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import type { Annotation, HistoryPoint, Overview } from '../../src/console/api.ts'
import { type Browser, consoles, OPERATOR } from './kit.ts'

const start = consoles({ interval: 200 })
const one = usePostgres({ version: '18', settings: { fsync: 'off' } })
const other = usePostgres({ version: '18', settings: { fsync: 'off' } })

const annotationKinds = async (browser: Browser): Promise<Annotation['kind'][]> => {
  const { json } = await browser.get('/api/history')
  return json.annotations.map(({ kind }: Annotation) => kind)
}

test('reports an outage of its database, keeps users signed in, and recovers', async () => {
  const server = one()
  const { browser, sessions } = await start(
    { db: server.url() },
    { passwords: { operator: OPERATOR, reader: undefined } },
  )
  await sessions.open()
  const signedIn = browser()
  await signedIn.signIn(OPERATOR)
  expect((await signedIn.get('/api/overview')).status).toBe(200)

  await server.stop('immediate')
  const health = async () => ((await signedIn.get('/api/overview')).json as Overview).servers[0]?.health
  await until(async () => (await health()) === 'down', 'an overview that shows the outage')
  const down: Overview = (await signedIn.get('/api/overview')).json
  expect(down.servers[0]?.sinceStart).toBe(false)
  expect(down).toMatchObject({
    expiring: [],
    servers: [{ health: 'down', lastError: expect.stringMatching(/./) }],
    advice: [{ level: 'critical' }],
  })
  expect(down.sessions).toBeUndefined()
  // Other requests fail with a message; requests that need no database still work.
  const failures = await Promise.all(
    ['sessions', 'session?id=x', 'count?field=x'].map((path) => signedIn.get(`/api/${path}`)),
  )
  expect(failures.map(({ status }) => status)).toEqual([503, 503, 503])
  for (const { json } of failures) {
    expect(json.error).toMatch(/database/)
    expect(json.partial).toBeUndefined()
  }
  expect((await signedIn.post('/api/gc', {})).status).toBe(503)
  expect(await signedIn.me()).toMatchObject({ signedIn: true })
  const history = (await signedIn.get('/api/history')).json
  expect(history.points.at(-1) as HistoryPoint).toMatchObject({ sessions: null, created: null })
  expect(await annotationKinds(signedIn)).toContain('serverDown')
  // Users who are not signed in get no access.
  expect((await browser().get('/api/overview')).status).toBe(401)
  expect((await browser().signIn(OPERATOR)).status).toBe(503)

  await server.start()
  await until(async () => (await health()) === 'up', 'an overview after the outage')
  expect(await annotationKinds(signedIn)).toContain('serverUp')
  expect((await signedIn.get('/api/sessions')).status).toBe(200)
})

test('shows that one of several servers goes down and comes up, and shows the others meanwhile', async () => {
  const db = `${one().conninfo()};${other().conninfo()}`
  const { browser, sessions } = await start({ db }, { handler: { table: 'sharded' } })
  await sessions.open()
  for (let n = 0; n < 40; n++) await sessions.write(sessions.createId(), { n }, { custom: 'ada' })
  const operator = browser()
  await operator.me()
  const overview = async (): Promise<Overview> => (await operator.get('/api/overview')).json
  const health = async (): Promise<string> => (await overview()).servers.map((server) => server.health).join()
  await until(async () => (await overview()).sessions?.value === 40, 'all sessions of both')
  expect(await health()).toBe('up,up')

  await other().stop('immediate')
  await until(async () => (await health()) === 'up,down', 'one server down')
  const { servers, sessions: left, advice } = await overview()
  expect(left?.value).toBe(servers[0]?.sessions?.value)
  expect(left?.value).toBeLessThan(40)
  expect(servers[1]).toMatchObject({ lastError: expect.stringMatching(/./) })
  expect(advice[0]).toMatchObject({ level: 'critical', server: servers[1]?.name })
  expect((await operator.get('/api/sessions?limit=200')).json.sessions).toHaveLength(left?.value ?? 0)
  // A partial failure, not an outage of the database.
  const { count } = (await operator.get('/api/count?field=nobody')).json
  const partial = await operator.post('/api/end', { field: 'nobody', count })
  expect([partial.status, partial.json.partial]).toEqual([503, true])
  expect(partial.json.error).toContain(servers[1]?.name)
  const unreachable = [servers[1]?.name]
  expect((await operator.get('/api/gc')).json).toEqual({
    due: { value: 0, exact: true },
    keepsRows: false,
    unreachable,
  })
  expect((await operator.post('/api/gc', {})).json).toEqual({ removed: 0, busy: [], failed: unreachable })
  expect((await overview()).gc[0]).toMatchObject({ server: unreachable[0], failed: 'SERVER_DOWN' })
  const point = (await operator.get('/api/history')).json.points.at(-1) as HistoryPoint
  expect(point.perServer.map(({ up }) => up)).toEqual([true, false])

  await other().start()
  await until(async () => (await health()) === 'up,up', 'both servers up')
  await until(async () => (await overview()).sessions?.value === 40, 'all sessions again')
  const kinds = await annotationKinds(operator)
  expect(kinds.filter((kind) => kind !== 'failover')).toEqual(['consoleStarted', 'serverDown', 'serverUp'])
})

test('lets users sign in while one of several servers is down, and after it has returned', async () => {
  const db = `${one().conninfo()};${other().conninfo()}`
  const passwords = { operator: OPERATOR, reader: 'reader' }
  const { browser, sessions } = await start({ db }, { handler: { table: 'halved' }, passwords })
  await sessions.open()
  const users = (): Promise<[Browser, number][]> =>
    Promise.all(
      Object.values(passwords).map(async (password): Promise<[Browser, number]> => {
        const user = browser()
        return [user, (await user.signIn(password)).status]
      }),
    )
  const statuses = async (all: readonly [Browser, number][]) => [
    ...all.map(([, status]) => status),
    ...(await Promise.all(all.map(async ([user]) => (await user.get('/api/overview')).status))),
  ]
  expect(await statuses(await users())).toEqual([204, 204, 200, 200])
  await other().stop('immediate')
  const meanwhile = await users()
  expect(await statuses(meanwhile)).toEqual([204, 204, 200, 200])
  await other().start()
  await until(
    async () => (await statuses(await users())).join() === '204,204,200,200',
    'sign-ins after the return',
  )
})

test('shows failovers and failbacks of other processes once each, also in a console started later', async () => {
  const [here, there] = [one(), other()]
  const db = [here, there]
    .map((server, index) => `${server.conninfo()} name=${['east', 'west'][index]}`)
    .join(';')
  // Two handlers stand for two processes; both write what they see into the journal.
  const sites = [0, 1].map(() => new SaveHandler({ db, table: 'moving', gcInterval: 0 }))
  for (const one of sites) one.on('error', () => {})
  const site = sites[0] as SaveHandler
  const options = { handler: { table: 'moving', createTable: false } }
  try {
    const ids = Array.from({ length: 40 }, (_, n) => `id${n}`)
    for (const id of ids) await site.write(id, { n: 1 })
    const first = await start({ db }, options)
    const operator = first.browser()
    const annotations = async (browser: Browser, kind: Annotation['kind']): Promise<Annotation[]> =>
      (await browser.get('/api/history')).json.annotations.filter((one: Annotation) => one.kind === kind)

    await there.stop('immediate')
    // Each of these writes is a failover, and they last longer than a sample interval of the console.
    await until(async () => {
      for (const [n, id] of ids.entries()) await sites[n % 2]?.write(id, { n: 2 })
      return (await annotations(operator, 'failover')).length > 0
    }, 'the failover')
    await until(
      async () => (await site.journal()).filter(({ kind }) => kind === 'failover').length === 2,
      'both to have recorded it',
    )
    const { length } = (await operator.get('/api/history')).json.points
    await until(async () => {
      await site.write(ids[0] as string, { n: 3 })
      return (await operator.get('/api/history')).json.points.length > length + 1
    }, 'another sample')
    const failover = [
      { kind: 'failover', at: expect.any(String), text: 'Sessions failed over from west to east.' },
    ]
    expect(await annotations(operator, 'failover')).toEqual(failover)

    await there.start()
    const countOf = (found: readonly Annotation[]): number =>
      found.reduce((sum, { text }) => sum + Number(/^\d+/.exec(text)?.[0]), 0)
    await until(
      async () => countOf(await annotations(operator, 'broughtHome')) > 0,
      'some sessions to move back',
    )
    await until(
      async () => (await here.query('SELECT 1 FROM moving WHERE sess_home IS NOT NULL')).length === 0,
      'all sessions to move back',
    )
    for (const { text } of await annotations(operator, 'broughtHome')) {
      expect(text).toMatch(/^\d+ sessions? moved back from east to west\.$/)
    }
    await Promise.all(sites.map((one) => one.close()))
    await first.close()

    const second = (await start({ db }, options)).browser()
    await until(async () => (await annotations(second, 'consoleStarted')).length > 0, 'its start')
    expect(await annotations(second, 'failover')).toEqual(failover)
    const [onWest] = await there.query<{ n: number }>('SELECT count(*)::int AS n FROM moving')
    expect(countOf(await annotations(second, 'broughtHome'))).toBe(onWest?.n)
  } finally {
    await Promise.all(sites.map((one) => one.close()))
  }
})

test('cancels slow searches in the database and says how to search instead', async () => {
  const server = one()
  const { browser, sessions } = await start({ db: server.url() }, { handler: { table: 'slow' } })
  await sessions.open()
  await queryOnce(
    server.conninfo(),
    `INSERT INTO slow (sess_id, sess_data) SELECT md5(n::text), '{}' FROM generate_series(1, 60000) n`,
  )
  await queryOnce(server.conninfo(), 'ANALYZE slow')
  const operator = browser()
  const first = await until(async () => {
    const { json } = await operator.get('/api/sessions')
    return json.orders.length === 2 && json
  }, 'a table too large for any order')
  expect(first.orders).toEqual(['id', '-id'])
  expect(first.sessions).toHaveLength(50)
  const order = await operator.get('/api/sessions?order=-modified')
  expect(order.status).toBe(400)
  expect(order.json.error).toMatch(/no index/)

  // The lock blocks every search while this sleeps, as a table that is too large would.
  const asleep = queryOnce(server.conninfo(), 'BEGIN; LOCK TABLE slow; SELECT pg_sleep(4)')
  const waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%slow%' AND wait_event_type = 'Lock'"
  await until(async () => {
    const [held] = await queryOnce(
      server.conninfo(),
      "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'slow'::regclass",
    )
    return held !== undefined
  }, 'the lock')
  const [slow, byId] = await Promise.all([
    operator.get('/api/sessions?by=address&q=nowhere'),
    operator.get('/api/sessions?by=id&q=abc'),
  ])
  expect([slow.status, byId.status]).toEqual([400, 400])
  expect(slow.json.error).toMatch(/cancelled at its limit of 200 ms.*CREATE INDEX CONCURRENTLY/)
  expect(byId.json.error).toMatch(/Enter the whole id/)
  expect(await queryOnce(server.conninfo(), `${waiting} AND query LIKE '%ORDER BY%LIMIT 51%'`)).toEqual([])
  await asleep
  expect((await operator.get('/api/sessions?by=address&q=nowhere')).json.sessions).toEqual([])
})
