import type { NextFunction, Request, Response } from 'express'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { pgsqlSession, recordErrors } from '../../src/adapters/express.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { eventually } from '../support/wait.ts'
import { optionsFor, type Site, startSite } from './site.ts'

describeOnEveryKind('the current session', (server) => {
  let database: FreshDatabase
  let site: Site

  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  afterEach(() => site.close())

  async function start(options: Parameters<typeof startSite>[2] = {}): Promise<Site> {
    const site = await startSite(
      optionsFor(database),
      (app) => {
        app.get('/set', (req, res) => {
          req.session.user = 'u'
          res.send('set')
        })
        app.get('/show', (req, res) => {
          res.json(req.session.user ?? null)
        })
        app.get('/in/:user', (req, res, next) => {
          // Before the session exists that records it.
          pgsqlSession(req).setField(req.params.user)
          req.session.regenerate((error) => {
            if (error) return next(error)
            req.session.user = req.params.user
            res.send(pgsqlSession(req).getField())
          })
        })
        app.get('/field', (req, res) => {
          pgsqlSession(req).setField((req.query.to as string) ?? null)
          res.json(pgsqlSession(req).getField())
        })
        app.get('/info', async (req, res) => {
          const current = pgsqlSession(req)
          pgsqlSession(req).addError('warning', 'careful')
          res.json({ info: current.info() ?? null, field: current.getField(), errors: current.getErrors() })
        })
        app.get('/fail', () => {
          throw new Error(`no\0t storable \ud800 ${'x'.repeat(2000)}`)
        })
        app.get('/fail/odd', (_req, _res, next) => {
          next(Object.create(null))
        })
        app.get('/fail/after-save', (req, _res, next) => {
          req.session.user = 'u'
          req.session.save((error) => next(error ?? new Error('after the save')))
        })
        app.use(recordErrors())
        app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
          res.status(500).send(`passed on: ${typeof error}`)
        })
      },
      options,
    )
    await site.store.handler.open()
    return site
  }

  test('writes the custom field with the session, also with a touch', async () => {
    site = await start()
    const { handler } = site.store
    const browser = site.browser()
    expect(await browser.text('/in/alice')).toBe('alice')
    expect((await handler.findByField('alice')).map(({ id }) => id)).toEqual([browser.id()])
    expect(await browser.text('/field?to=bob')).toBe('"bob"')
    expect(await handler.getField(browser.id())).toBe('bob')
    await browser.text('/field')
    expect(await handler.getField(browser.id())).toBeNull()
    // A second sign-in: the field that was set before the change of the id is stored with the new id.
    const old = browser.id()
    await browser.text('/in/carol')
    expect(await handler.info(old)).toBeUndefined()
    expect(await handler.getField(browser.id())).toBe('carol')
  })

  test('info returns the session as it was read; getErrors adds the errors of this request', async () => {
    site = await start()
    const browser = site.browser()
    expect(JSON.parse(await browser.text('/info'))).toEqual({
      info: null,
      field: null,
      errors: { errors: 0, warnings: 1, notices: 0, message: 'careful' },
    })
    await browser.text('/set')
    const shown = JSON.parse(await browser.text('/info'))
    expect(shown.info).toMatchObject({ id: browser.id(), name: 'connect.sid', accesses: 1, warnings: 0 })
    expect(shown.info).not.toHaveProperty('data')
    expect(shown.errors).toEqual({ errors: 0, warnings: 1, notices: 0, message: 'careful' })
    const again = JSON.parse(await browser.text('/info'))
    expect(again.errors).toEqual({ errors: 0, warnings: 2, notices: 0, message: 'careful' })
    expect(again.info.warnings).toBe(1)
  })

  test('recordErrors counts errors and passes them on, also when the session has not changed', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set')
    expect(await browser.get('/fail')).toMatchObject({ status: 500, text: 'passed on: object' })
    const errors = await site.store.handler.getErrors(browser.id())
    expect(errors).toMatchObject({ errors: 1, warnings: 0, notices: 0 })
    expect(errors?.message).toMatch(/^not storable \ufffd x+$/)
    expect(errors?.message).toHaveLength(1000)
    await browser.get('/fail/odd')
    expect(await site.store.handler.getErrors(browser.id())).toEqual({
      errors: 2,
      warnings: 0,
      notices: 0,
      message: 'an error that cannot be converted to text',
    })
    expect(await browser.text('/show')).toBe('"u"')
  })

  test('records an error after the explicit save of a new session', async () => {
    site = await start()
    const browser = site.browser()
    await browser.get('/fail/after-save')
    await eventually(async () => {
      expect(await site.store.handler.getErrors(browser.id())).toMatchObject({
        errors: 1,
        message: 'after the save',
      })
    }, 30_000)
  })

  test('records errors with resave; discards them without a session', async () => {
    site = await start({ resave: true })
    const browser = site.browser()
    expect(await browser.get('/fail')).toMatchObject({ status: 500 })
    await browser.text('/set')
    await browser.get('/fail')
    expect(await site.store.handler.getErrors(browser.id())).toMatchObject({ errors: 1 })
  })

  test('the next save records the metadata of a failed one', async () => {
    const codec = {
      name: 'picky',
      encode(data: object) {
        if ('bad' in data) throw new Error('bad data')
        return JSON.stringify(data)
      },
      decode: (text: string) => JSON.parse(text || '{}'),
    }
    site = await startSite({ ...optionsFor(database), codec }, (app) => {
      app.get('/', (req, res) => {
        pgsqlSession(req).setField('kept')
        pgsqlSession(req).addError('notice')
        req.session.bad = true
        req.session.save((error) => {
          delete req.session.bad
          req.session.n = 1
          pgsqlSession(req).addError('notice', 'second')
          res.send(String(error))
        })
      })
    })
    const browser = site.browser()
    expect(await browser.text('/')).toMatch(/Error/)
    expect(await site.store.handler.info(browser.id())).toMatchObject({
      custom: 'kept',
      notices: 2,
      errorMessage: 'second',
    })
  })

  test('setField and addError reject invalid arguments at once', async () => {
    site = await start()
    const request = {}
    for (const value of [7, undefined, 'a\0b', '\udc00']) {
      expect(() => pgsqlSession(request).setField(value as string)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      )
    }
    expect(() => pgsqlSession(request).addError('fatal' as 'error')).toThrow(/level/)
    expect(pgsqlSession(request).getField()).toBeNull()
    expect(pgsqlSession(request).getErrors()).toEqual({ errors: 0, warnings: 0, notices: 0, message: null })
  })
})
