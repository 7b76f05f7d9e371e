import flash from 'connect-flash'
import type { Express, Request } from 'express'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { pgsqlSession } from '../../src/adapters/express.ts'
import { Gates } from '../../src/testing/gates.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { type Browser, optionsFor, type Site, startSite } from './site.ts'

/** Applications as they are written for any session store, with requests of one user that overlap. */

interface Item {
  id: string
  quantity: number
}

interface Shop {
  cart?: Item[]
  coupon?: string
}

/** A cart that knows nothing of other requests, except for what it adds with `update`. */
function shop(app: Express, gates: Gates): void {
  const cartOf = (request: Request): Item[] => {
    const session = request.session as Shop
    session.cart ??= []
    return session.cart
  }
  app.use(async (request, _response, next) => {
    await gates.pause(request.query.wait as string | undefined)
    next()
  })
  app.get('/cart', (request, response) => {
    response.json((request.session as Shop).cart ?? null)
  })
  app.get('/add/:id', (request, response) => {
    const cart = cartOf(request)
    const item = cart.find(({ id }) => id === request.params.id)
    if (item === undefined) cart.push({ id: request.params.id, quantity: 1 })
    else item.quantity++
    response.send('added')
  })
  app.get('/remove/:id', (request, response) => {
    const session = request.session as Shop
    session.cart = cartOf(request).filter(({ id }) => id !== request.params.id)
    response.send('removed')
  })
  app.get('/quantity/:id/:quantity', (request, response) => {
    const item = cartOf(request).find(({ id }) => id === request.params.id)
    if (item !== undefined) item.quantity = Number(request.params.quantity)
    response.send('changed')
  })
  app.get('/order', (request, response) => {
    delete (request.session as Shop).cart
    response.send('ordered')
  })
  app.get('/one-more/:id', async (request, response) => {
    const { value } = await pgsqlSession<Shop>(request).update((data) => {
      data.cart ??= []
      const item = data.cart.find(({ id }) => id === request.params.id)
      if (item !== undefined) return ++item.quantity
      data.cart.push({ id: request.params.id, quantity: 1 })
      return 1
    })
    response.json(value)
  })
  app.get('/coupon/:code', async (request, response) => {
    const { value } = await pgsqlSession<Shop>(request).update((data) => {
      if (data.coupon !== undefined) return false
      data.coupon = request.params.code
      return true
    })
    response.json(value)
  })
}

function messages(app: Express, gates: Gates): void {
  app.use(flash())
  app.use(async (request, _response, next) => {
    await gates.pause(request.query.wait as string | undefined)
    next()
  })
  app.get('/say/:type/:message', (request, response) => {
    // With a format: without one connect-flash calls a function that Node.js 23 no longer has.
    request.flash(request.params.type, '%s', request.params.message)
    response.send('said')
  })
  app.get('/show/:type', (request, response) => {
    response.json(request.flash(request.params.type))
  })
  app.get('/set/:key', (request, response) => {
    request.session[request.params.key] = true
    response.send('set')
  })
}

describeOnEveryKind('applications with overlapping requests', (server) => {
  let database: FreshDatabase
  let site: Site
  let gates: Gates

  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  beforeEach(() => {
    gates = new Gates()
  })
  afterEach(() => site.close())

  async function start(application: (app: Express, gates: Gates) => void): Promise<Browser> {
    site = await startSite(optionsFor(database), (app) => application(app, gates))
    return site.browser()
  }

  /** Sends all requests, lets them continue when each has read the session, and returns their responses. */
  async function atOnce(browser: Browser, paths: readonly string[]): Promise<string[]> {
    const answers = paths.map((path, index) => browser.clone().text(`${path}?wait=${index}`))
    for (const index of paths.keys()) await gates.reached(String(index))
    gates.openAll()
    return Promise.all(answers)
  }

  /** Sends the first request, and the second when the first has read the session. */
  async function during(browser: Browser, slow: string, fast: string): Promise<string> {
    const answer = browser.clone().text(`${slow}?wait=slow`)
    await gates.reached('slow')
    await browser.clone().text(fast)
    gates.openAll()
    return answer
  }

  const cartOf = async (browser: Browser): Promise<Item[] | null> =>
    JSON.parse(await browser.clone().text('/cart'))

  test('a cart has all of twenty products that were added at once', async () => {
    const browser = await start(shop)
    await browser.text('/add/first')
    const ids = Array.from({ length: 20 }, (_, index) => `p${index}`)
    await atOnce(
      browser,
      ids.map((id) => `/add/${id}`),
    )
    const cart = await cartOf(browser)
    expect(cart?.map(({ id }) => id).toSorted()).toEqual(['first', ...ids].toSorted())
  })

  test('a cart keeps what one request adds, and neither what another removes nor its former quantity', async () => {
    const browser = await start(shop)
    for (const id of ['a', 'b', 'c']) await browser.text(`/add/${id}`)
    await atOnce(browser, ['/add/d', '/remove/a', '/quantity/b/5', '/add/c'])
    const cart = await cartOf(browser)
    expect(cart?.toSorted((one, other) => (one.id < other.id ? -1 : 1))).toEqual([
      { id: 'b', quantity: 5 },
      { id: 'c', quantity: 2 },
      { id: 'd', quantity: 1 },
    ])
  })

  test('a cart that was ordered stays empty when a slower request adds to it', async () => {
    const browser = await start(shop)
    await browser.text('/add/a')
    await during(browser, '/add/b', '/order')
    expect(await cartOf(browser)).toBeNull()
  })

  test('a product that two requests add at once is in the cart once, and twenty updates add twenty of it', async () => {
    const browser = await start(shop)
    await browser.text('/add/first')
    await atOnce(browser, ['/add/a', '/add/a'])
    expect(await cartOf(browser)).toEqual([
      { id: 'first', quantity: 1 },
      { id: 'a', quantity: 1 },
    ])
    const values = await atOnce(browser, Array(20).fill('/one-more/a'))
    expect(values.map(Number).toSorted((one, other) => one - other)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 2),
    )
    expect(await cartOf(browser)).toContainEqual({ id: 'a', quantity: 21 })
  })

  test('exactly one of twenty requests redeems a coupon', async () => {
    const browser = await start(shop)
    await browser.text('/add/a')
    const granted = await atOnce(
      browser,
      Array.from({ length: 20 }, (_, index) => `/coupon/c${index}`),
    )
    expect(granted.filter((text) => text === 'true')).toHaveLength(1)
    const index = granted.indexOf('true')
    expect((await site.store.handler.read(browser.id()))?.data.coupon).toBe(`c${index}`)
  })

  test('connect-flash shows the messages of all overlapping requests once', async () => {
    const browser = await start(messages)
    await browser.text('/say/info/first')
    await atOnce(browser, ['/say/info/second', '/say/info/third', '/say/error/failed', '/set/key'])
    const shown = JSON.parse(await browser.text('/show/info'))
    expect(shown.toSorted()).toEqual(['first', 'second', 'third'])
    expect(JSON.parse(await browser.text('/show/error'))).toEqual(['failed'])
    expect(JSON.parse(await browser.text('/show/info'))).toEqual([])
    expect(JSON.parse(await browser.text('/show/error'))).toEqual([])
  })

  test('connect-flash keeps the messages of requests that overlap before there is any', async () => {
    const browser = await start(messages)
    await browser.text('/set/key')
    await atOnce(browser, ['/say/info/one', '/say/info/other'])
    expect(JSON.parse(await browser.text('/show/info')).toSorted()).toEqual(['one', 'other'])
  })

  test('connect-flash does not show a message again after a slower request has saved', async () => {
    const browser = await start(messages)
    await browser.text('/say/info/once')
    await during(browser, '/set/key', '/show/info')
    expect(JSON.parse(await browser.text('/show/info'))).toEqual([])
    await browser.text('/say/info/once')
    await during(browser, '/say/error/failed', '/show/info')
    expect(JSON.parse(await browser.text('/show/info'))).toEqual([])
    expect(JSON.parse(await browser.text('/show/error'))).toEqual(['failed'])
  })

  test('a message of connect-flash that is added while others of its type are shown goes with them', async () => {
    // connect-flash deletes the list, and a deletion beats what is added to it: docs/express.md says what to do.
    const browser = await start(messages)
    await browser.text('/say/info/first')
    await during(browser, '/say/info/late', '/show/info')
    expect(JSON.parse(await browser.text('/show/info'))).toEqual([])
  })
})
