import { encodePhpSession, PhpArray, PhpFloat, PhpObject, SaveHandler } from 'session-pgsql'
import { beforeAll, expect, test } from 'vitest'
import { describeOnEveryKind, type FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import type { Annotation, GcRun, HistoryPoint, Overview } from '../../src/console/api.ts'
import { type Browser, consoles, type StartOptions } from './kit.ts'

const HOSTILE = '</script><img src=x onerror="alert(1)">\u2028<!--'

describeOnEveryKind('the API of the console', (server) => {
  const start = consoles()
  let database: FreshDatabase
  beforeAll(async () => {
    database = await server.freshDatabase()
  })

  async function startOn(table: string, options: StartOptions = {}) {
    const started = await start(database, { handler: { table }, ...options })
    await started.sessions.open()
    const browser = started.browser()
    await browser.me()
    return { ...started, one: browser }
  }

  test('finds sessions by id, field, address and error, sorts them, and returns them by page', async () => {
    const { one, sessions } = await startOn('found')
    for (let n = 0; n < 25; n++) {
      const id = `${n % 2 ? 'odd' : 'even'}-${String(n).padStart(3, '0')}`
      await sessions.write(
        id,
        { n },
        { custom: `user${n % 5}`, address: `192.0.2.${n % 3}`, name: `site${n % 2}` },
      )
    }
    const ids = async (query: string): Promise<string[]> => {
      const { json } = await one.get(`/api/sessions?${query}`)
      return json.sessions.map(({ id }: { id: string }) => id)
    }
    expect(await ids('by=id&q=odd')).toHaveLength(12)
    expect(await ids('by=id&q=odd-003')).toEqual(['odd-003'])
    expect(await ids('by=field&q=user1')).toHaveLength(5)
    expect(await ids('by=address&q=192.0.2.2')).toHaveLength(8)
    expect(await ids('name=site1')).toHaveLength(12)
    await sessions.addError('odd-003', 'error', 'Division by 100 % of zero')
    expect(await ids('by=error&q=by 100 %25 of ZERO'.replaceAll(' ', '+'))).toEqual(['odd-003'])
    expect(await ids('by=error&q=by_100')).toEqual([])
    expect((await ids('order=-created&limit=200')).length).toBe(25)
    const all: string[] = []
    let after = ''
    do {
      const { json } = await one.get(`/api/sessions?limit=10&after=${after}`)
      all.push(...json.sessions.map(({ id }: { id: string }) => id))
      expect(json.total).toEqual({ value: 25, exact: true })
      after = json.next ?? ''
    } while (after !== '')
    expect(all).toEqual([...all].sort())
    expect(all).toHaveLength(25)
    for (const bad of ['by=name', 'order=data', 'limit=0', 'limit=1000', 'after=xyz', 'limit=1e1']) {
      expect([bad, (await one.get(`/api/sessions?${bad}`)).status]).toEqual([bad, 400])
    }
    expect((await one.get('/api/session?id=odd-003')).json).toMatchObject({
      id: 'odd-003',
      field: 'user3',
      addressCreated: '192.0.2.0',
      accesses: 1,
    })
    expect((await one.get('/api/session?id=nobody')).status).toBe(404)
    expect((await one.get('/api/session?id=')).status).toBe(400)
  })

  test('ends given sessions or all with a field, but none if there are more than confirmed', async () => {
    const { one, sessions } = await startOn('ended')
    for (let n = 0; n < 6; n++) await sessions.write(`id${n}`, {}, { custom: 'ada' })
    expect((await one.post('/api/end', { ids: ['id0', 'id0', 'nobody'] })).json).toEqual({ ended: 1 })
    expect((await one.get('/api/count?field=ada')).json).toEqual({ count: 5 })
    const late = await one.post('/api/end', { field: 'ada', count: 4 })
    expect(late.status).toBe(400)
    expect(await sessions.count()).toBe(5)
    expect((await one.post('/api/end', { field: 'ada', count: 5 })).json).toEqual({ ended: 5 })
    expect(await sessions.count()).toBe(0)
  })

  test('ends all sessions of all users', async () => {
    const { one, sessions } = await startOn('ended_all')
    for (let n = 0; n < 3; n++) await sessions.write(`id${n}`, {}, { custom: `user${n}` })
    for (const body of [{ all: false }, { all: 'true' }, { all: true, field: '' }]) {
      expect((await one.post('/api/end', body)).status).toBe(400)
    }
    expect(await sessions.count()).toBe(3)
    expect((await one.post('/api/end', { all: true })).json).toEqual({ ended: 3 })
    expect(await sessions.count()).toBe(0)
    expect((await one.get('/api/audit')).json.entries[0]).toMatchObject({ act: 'end-all', what: '' })
  })

  test('ends sessions whose ids do not match the id pattern', async () => {
    const { browser, sessions } = await start(database, {
      handler: { table: 'foreign_ids', idPattern: 'php' },
    })
    await sessions.open()
    const one = browser()
    await one.me()
    const ids = ['with:colon', 'ä b', "it's"]
    for (const id of ids) {
      await database.query(
        `INSERT INTO foreign_ids (sess_id, sess_data, sess_expire) VALUES ($1, '{}', 4000000000)`,
        [id],
      )
    }
    expect((await one.get('/api/sessions')).json.sessions).toHaveLength(3)
    expect((await one.post('/api/end', { ids: ids.slice(0, 1) })).json).toEqual({ ended: 1 })
    expect((await one.post('/api/end', { ids })).json).toEqual({ ended: 2 })
    expect(await sessions.count({ active: 'any' })).toBe(0)
    for (const id of ['\0', '\ud800']) expect((await one.post('/api/end', { ids: [id] })).status).toBe(400)
  })

  test('shows an expired session by its id while its row exists', async () => {
    const { one } = await startOn('expired')
    await database.query(
      `INSERT INTO expired (sess_id, sess_data, sess_expire) VALUES ('late', '{"a":1}', 1000)`,
    )
    expect((await one.get('/api/sessions')).json.sessions).toEqual([])
    expect((await one.get('/api/session?id=late')).json).toMatchObject({
      id: 'late',
      expires: '1970-01-01T00:16:40.000Z',
    })
    expect((await one.post('/api/session/data', { id: 'late' })).json.data).toEqual({ a: 1 })
    expect((await one.get('/api/session?id=nobody')).status).toBe(404)
  })

  test('decodes data in every format, whatever the codec of the console', async () => {
    const { one, sessions } = await startOn('trees')
    await sessions.write('json', { cart: [{ book: 1 }], ['__proto__' as string]: 1 })
    const insert = (id: string, text: string) =>
      database.query('INSERT INTO trees (sess_id, sess_data) VALUES ($1, $2)', [id, text])
    const php = {
      user: 'ada',
      price: new PhpFloat(2),
      list: new PhpArray([[3, 'x']]),
      object: new PhpObject('Cart', [
        ['\0Cart\0items', [1]],
        ['\0Shelf\0items', [2]],
        ['\0*\0owner', 'ada'],
      ]),
      bytes: new Uint8Array([255, 0]),
    }
    const formats = ['php', 'php_serialize', 'php_binary'] as const
    const { sessions: other } = await start(database, { handler: { table: 'trees', codec: 'php' } })
    await other.write('stored', php as never)
    for (const format of formats) {
      const { bytes: _, ...rest } = php
      await insert(format, Buffer.from(encodePhpSession({ ...rest, object: 1 } as never, format)).toString())
    }
    await insert('broken', 'neither|of them')
    await insert('empty', '')
    const data = async (id: string) => (await one.post('/api/session/data', { id })).json
    const json = await one.post('/api/session/data', { id: 'json' })
    expect(json.text).toContain('{"cart":[{"book":1}],"__proto__":1}')
    for (const format of formats) {
      expect(await data(format)).toMatchObject({ data: { user: 'ada', price: 2, list: { 3: 'x' } } })
    }
    expect((await data('stored')).data).toEqual({
      user: 'ada',
      price: 2,
      list: { 3: 'x' },
      object: { '(Cart)': { items: [1], 'items (Shelf)': [2], owner: 'ada' } },
      bytes: '\u00ff\0',
    })
    expect(await data('broken')).toEqual({ text: 'neither|of them', bytes: 15 })
    expect(await data('empty')).toEqual({ text: '', bytes: 0 })
  })

  test('returns hostile session content as JSON only', async () => {
    const { one, sessions } = await startOn('hostile')
    await database.query(
      `INSERT INTO hostile (sess_id, sess_name, sess_data, sess_addr_created, sess_addr_modified, sess_err_message, sess_custom)
       VALUES ($1, $1, $2, $1, $1, $1, $1)`,
      [HOSTILE, JSON.stringify({ [HOSTILE]: HOSTILE })],
    )
    const query = encodeURIComponent(HOSTILE)
    const replies = [
      await one.get('/api/sessions'),
      await one.get(`/api/sessions?by=field&q=${query}`),
      await one.get(`/api/session?id=${query}`),
      await one.get('/api/overview'),
      await one.post('/api/session/data', { id: HOSTILE }),
      await one.post('/api/end', { field: HOSTILE, count: 1 }),
      await one.get('/api/audit'),
      await one.get(`/api/${query}`),
    ]
    for (const { headers } of replies) {
      expect(headers['content-type']).toBe('application/json; charset=utf-8')
      expect(headers['x-content-type-options']).toBe('nosniff')
    }
    expect(replies[0]?.json.sessions[0]).toMatchObject({ id: HOSTILE, errorMessage: HOSTILE, field: HOSTILE })
    expect(replies[4]?.json.data).toEqual({ [HOSTILE]: HOSTILE })
    expect(replies[5]?.json).toEqual({ ended: 1 })
    expect(await sessions.count()).toBe(0)
  })

  test('counts sessions in the overview, and shows changes in the history and the live stream', async () => {
    const { one, sessions, port } = await startOn('seen')
    // Sessions from before the first sample do not count as created.
    await until(async () => {
      const { json } = await one.get('/api/history')
      return json.points.at(-1)?.sessions === 0
    }, 'a sample of the empty table')
    for (let n = 0; n < 4; n++) await sessions.write(`id${n}`, {}, { name: 'site', lifetime: 5400 })
    await sessions.addError('id0', 'error', 'oh')
    const headers = { cookie: one.cookie as string }
    const stream = await fetch(`http://127.0.0.1:${port}/api/live`, { headers })
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    const point = await until(async () => {
      text += (await reader?.read())?.value
      const points = [...text.matchAll(/^event: point\ndata: (.*)$/gm)].map(([, json]) =>
        JSON.parse(json as string),
      )
      return points.find((one: HistoryPoint) => one.sessions === 4)
    }, 'a point with four sessions')
    await reader?.cancel()
    expect(point.perServer).toMatchObject([{ sessions: 4, up: true }])
    expect(point.perName).toMatchObject([{ name: 'site', sessions: 4 }])
    const overview = await until(async () => {
      const { json } = await one.get('/api/overview')
      return (json as Overview).sessions?.value === 4 && json
    }, 'an overview of four sessions')
    expect(overview).toMatchObject({
      sessions: { value: 4, exact: true },
      servers: [{ health: 'up', sinceStart: true, role: 'primary', share: 1, sessions: { value: 4 } }],
    })
    expect(overview.expiring).toHaveLength(24)
    expect(overview.expiring[1].sessions.value).toBe(4)
    const total = (points: HistoryPoint[], of: 'created' | 'ended' | 'errors') =>
      points.reduce((sum, point) => sum + (point[of] ?? 0), 0)
    await one.post('/api/end', { ids: ['id3'] })
    const history = await until(async () => {
      const { json } = await one.get('/api/history?minutes=60')
      return total(json.points, 'ended') === 1 && json
    }, 'the end of a session in the history')
    const waitForTotal = (of: 'created' | 'errors', count: number) =>
      until(async () => {
        const { json } = await one.get('/api/history?minutes=60')
        return total(json.points, of) === count
      }, `${count} ${of} in the history`)
    await waitForTotal('created', 4)
    await waitForTotal('errors', 1)
    const [server] = history.points.flatMap(({ perServer }: HistoryPoint) => perServer)
    for (const of of ['created', 'ended', 'errors'] as const) {
      const { points } = (await one.get('/api/history?minutes=60')).json as { points: HistoryPoint[] }
      const sums = [
        points.flatMap(({ perName }) => perName.filter(({ name }) => name === 'site')),
        points.flatMap(({ perServer }) => perServer.filter(({ name }) => name === server.name)),
      ].map((its) => its.reduce((sum, metrics) => sum + (metrics[of] ?? 0), 0))
      expect([of, ...sums]).toEqual([of, ...(of === 'created' ? [4, 4] : [1, 1])])
    }
    expect(history.annotations[0]).toMatchObject({ kind: 'consoleStarted' })
    expect((await one.get('/api/history?minutes=1440')).json.points.length).toBeGreaterThan(0)
    expect((await one.get('/api/history?minutes=99999')).status).toBe(400)
  })

  test('runs GC on request, and shows the run in the overview', async () => {
    const { one } = await startOn('garbage')
    await database.query(
      `INSERT INTO garbage (sess_id, sess_data, sess_expire) SELECT 'old' || n, '{}', 1 FROM generate_series(1, 3) n`,
    )
    // Expired ten minutes ago, but GC is due for it in the next hour.
    await database.query(
      `INSERT INTO garbage (sess_id, sess_data, sess_expire, sess_sweep)
       SELECT 'later', '{}', now - 600, now + 3000 FROM (SELECT extract(epoch FROM now())::bigint AS now) AS clock`,
    )
    const due = { due: { value: 3, exact: true }, keepsRows: false, unreachable: [] }
    expect((await one.get('/api/gc')).json).toEqual(due)
    expect((await one.post('/api/gc', {})).json).toEqual({ removed: 3, busy: [], failed: [] })
    expect((await one.get('/api/audit')).json.entries[0]).toMatchObject({ act: 'gc', count: 3 })
    expect((await one.get('/api/overview')).json.gc).toMatchObject([{ removed: 3 }])
    expect((await one.get('/api/history')).json.annotations.at(-1)).toMatchObject({ kind: 'gc' })
    expect((await one.get('/api/gc')).json.due).toEqual({ value: 0, exact: true })
    expect((await one.post('/api/gc', {})).json).toEqual({ removed: 0, busy: [], failed: [] })
    expect(await database.query('SELECT sess_id FROM garbage')).toEqual([{ sess_id: 'later' }])
  })

  test('shows the GC runs of another process once each, also in a console started later', async () => {
    const table = 'elsewhere'
    const first = await startOn(table, { interval: 200 })
    const site = new SaveHandler({ db: database.db, table, gcInterval: 0 })
    const expire = (id: string) =>
      database.query(`INSERT INTO ${table} (sess_id, sess_data, sess_expire) VALUES ($1, '{}', 1)`, [id])
    const runs = async (one: Browser): Promise<GcRun[]> => (await one.get('/api/overview')).json.gc
    const annotations = async (one: Browser): Promise<Annotation[]> =>
      (await one.get('/api/history')).json.annotations
    await expire('one')
    await expire('two')
    expect(await site.gc()).toBe(2)
    const [run] = await until(async () => {
      const found = await runs(first.one)
      return found.length > 0 ? found : undefined
    }, 'the sweep of the site')
    const [{ name: server } = {}] = site.status().servers
    expect(run).toMatchObject({ removed: 2, server, seconds: expect.any(Number), at: expect.any(String) })

    // The console's own runs are in the journal, too, and must not appear twice.
    await expire('three')
    expect((await first.one.post('/api/gc', {})).json).toMatchObject({ removed: 1 })
    await until(async () => (await site.journal()).length === 2, 'both in the journal')
    const { length } = (await first.one.get('/api/history')).json.points
    await until(
      async () => (await first.one.get('/api/history')).json.points.length >= length + 2,
      'a sample after it was read',
    )
    const all = [expect.objectContaining({ removed: 1 }), expect.objectContaining({ removed: 2 })]
    const texts = [`GC removed 2 sessions on ${server}.`, `GC removed 1 session on ${server}.`]
    const expectAll = async (one: Browser) => {
      expect(await runs(one)).toEqual(all)
      expect((await annotations(one)).flatMap(({ kind, text }) => (kind === 'gc' ? [text] : []))).toEqual(
        texts,
      )
    }
    await expectAll(first.one)
    await first.close()

    const second = await startOn(table, { interval: 200 })
    await until(
      async () => (await annotations(second.one)).some(({ kind }) => kind === 'consoleStarted'),
      'its start',
    )
    await expectAll(second.one)
    await site.close()
  })

  test('says that GC keeps rows if the console is configured with keepExpired', async () => {
    const { browser, sessions } = await start(database, { handler: { table: 'keeping', keepExpired: true } })
    await sessions.open()
    const one = browser()
    await one.me()
    await database.query(`INSERT INTO keeping (sess_id, sess_data, sess_expire) VALUES ('kept', '{}', 1)`)
    expect((await one.get('/api/gc')).json).toMatchObject({ due: { value: 1 }, keepsRows: true })
    expect((await one.post('/api/gc', {})).json).toMatchObject({ removed: 1 })
    const [kept] = await database.query(`SELECT sess_data FROM keeping WHERE sess_id = 'kept'`)
    expect(kept).toEqual({ sess_data: '' })
  })
})
