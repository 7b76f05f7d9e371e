import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { io, type Socket } from 'socket.io-client'
import { afterEach, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { eventually, until } from '../support/wait.ts'

const EXAMPLE = join(import.meta.dirname, '../../../../examples/socket.io')

/** The example, on the built package, in two processes. */
describeOnEveryKind(
  'the example socket.io in two processes',
  (server) => {
    const children: ChildProcess[] = []
    const sockets: Socket[] = []
    afterEach(async () => {
      for (const socket of sockets.splice(0)) socket.close()
      for (const child of children.splice(0)) {
        child.kill('SIGTERM')
        await until(() => child.exitCode !== null || child.signalCode !== null, 'the example to end')
        expect(child.exitCode).toBe(0)
      }
    })

    async function start(database: FreshDatabase): Promise<string> {
      const child = spawn(process.execPath, ['main.js'], {
        cwd: EXAMPLE,
        env: { PATH: process.env.PATH ?? '', DATABASE_URL: database.db as string, PORT: '0' },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      children.push(child)
      let output = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
      return until(() => /http:\/\/[\d.]+:\d+/.exec(output)?.[0], 'the example to listen')
    }

    /** Returns a socket of the browser's session, once the site has accepted it. */
    async function connect(browser: Browser, user: string): Promise<Socket> {
      const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
      const options = {
        extraHeaders: { cookie },
        transports: ['websocket'],
        reconnection: false,
        forceNew: true,
      }
      const socket = io(browser.url, options)
      sockets.push(socket)
      const greeted = new Promise((resolve) => socket.once('welcome', resolve))
      expect(await greeted).toBe(user)
      return socket
    }

    test('a socket closes after a logout in another process, and the sockets of other sessions stay', async () => {
      const database = await server.freshDatabase()
      const [one, two] = await Promise.all([start(database), start(database)])
      const [ada, grace] = [new Browser(one), new Browser(one)]
      await ada.post('/sign-in?user=ada')
      await grace.post('/sign-in?user=grace')
      const [socket, other] = [await connect(ada, 'ada'), await connect(grace, 'grace')]
      await ada.clone(two).post('/sign-out')
      await eventually(() => expect(socket.connected).toBe(false))
      expect(other.connected).toBe(true)
      expect(await grace.read()).toEqual({ user: 'grace' })
    })

    test('"log out everywhere" closes the sockets of all sessions of the user, in all processes', async () => {
      const database = await server.freshDatabase()
      const [one, two] = await Promise.all([start(database), start(database)])
      const browsers = [new Browser(one), new Browser(two), new Browser(two)]
      for (const browser of browsers) await browser.post('/sign-in?user=ada')
      const open = await Promise.all(browsers.map((browser) => connect(browser, 'ada')))
      await (browsers[0] as Browser).clone(two).post('/sign-out-everywhere')
      await eventually(() => expect(open.map((socket) => socket.connected)).toEqual([false, false, false]))
    })

    test('a socket closes whose session ended while its process could not listen', async () => {
      const database = await server.freshDatabase()
      const [one, two] = await Promise.all([start(database), start(database)])
      const ada = new Browser(one)
      await ada.post('/sign-in?user=ada')
      const socket = await connect(ada, 'ada')
      await database.query('DELETE FROM php_session')
      expect(socket.connected).toBe(true)
      await database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'",
      )
      await eventually(() => expect(socket.connected).toBe(false))
      expect((await new Browser(two).send('GET', '/read')).status).toBe(200)
    })
  },
  ['postgres'],
)
