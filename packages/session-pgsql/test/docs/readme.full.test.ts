import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, rm, symlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { bin, compileStrict, createProject, locate, type Project, pack } from '../packaging/consumer.ts'
import { freePort } from '../support/connect.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { until } from '../support/wait.ts'
import { blockFinder } from './blocks.ts'

/** What a newcomer does: the blocks of the README and of docs/express.md in an empty folder, as pasted, with the packed package. */

const root = join(import.meta.dirname, '../../../..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const block = blockFinder(join(root, 'README.md'))
const expressBlock = blockFinder(join(root, 'docs/express.md'))

let server: PostgresServer
let packed: Awaited<ReturnType<typeof pack>>
let project: Project
let environment: Record<string, string>

beforeAll(async () => {
  // The blocks name localhost without a port: as with libpq, PGPORT is the port.
  server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
  environment = { PGPORT: String(server.port) }
  packed = await pack()
  const [, packages = ''] = /^npm install (.*)$/m.exec(block(/Get started/, 'sh')) ?? []
  const others = packages.split(' ').filter((name) => name !== 'session-pgsql')
  project = await createProject(packed.tarball, {}, [...others, 'express4', 'bowser'])
  for (const statement of block(/Get started/, 'sql').split(';')) {
    if (statement.trim() !== '') await server.query(statement)
  }
})

afterAll(async () => {
  await project?.remove()
  await packed?.remove()
  await server?.remove()
})

describe('the README and docs/express.md', () => {
  let site: ChildProcess | undefined
  let output = ''
  let port: number

  const [writeSettings, startSite] = block(/Get started/, 'sh', 1).split(/\n(?=node )/) as [string, string]
  const getStarted = block(/Get started/, 'js')
  const routes = [getStarted, block(/^Log in/, 'js'), block(/^Counters/, 'js')]

  /** Runs commands as pasted, but for the port. @returns what they print */
  async function shell(commands: string, variables: Record<string, string> = {}): Promise<string> {
    const shell = spawn('bash', ['-c', `set -e\n${commands.replaceAll('3000', String(port))}`], {
      cwd: project.folder,
      env: { ...process.env, ...environment, ...variables },
    })
    site = shell
    output = ''
    for (const stream of [shell.stdout, shell.stderr]) stream?.on('data', (chunk) => (output += chunk))
    await until(
      () => output.includes(`http://localhost:${port}\n`) || shell.exitCode !== null,
      'the commands',
      60_000,
    )
    return output
  }

  /** Starts the site with the command of the README. */
  const start = (variables: Record<string, string> = {}): Promise<string> =>
    shell(startSite.replace(/^node /m, 'exec node '), variables)

  const stop = async (): Promise<void> => {
    site?.kill()
    await until(() => site?.exitCode !== null || site?.signalCode !== null, 'the site to end', 20_000)
  }

  /** Writes blocks into a file as pasted, but for the port. */
  async function write(name: string, ...blocks: string[]): Promise<void> {
    port = await freePort()
    await project.write(name, blocks.join('\n').replaceAll('3000', String(port)))
  }

  const paste = (...blocks: string[]): Promise<void> => write('app.mjs', ...blocks)

  const browser = (): Browser => new Browser(`http://localhost:${port}`)

  /** Expects that the routes that need a user refuse a visitor. */
  async function expectGuards(): Promise<void> {
    for (const [method, path] of [
      ['POST', '/logout-everywhere'],
      ['GET', '/devices'],
      ['POST', '/devices/x/end'],
      ['POST', '/redeem'],
    ] as const) {
      const { status, text } = await browser().send(method, path)
      expect([path, status, text]).toEqual([path, 401, 'not logged in'])
    }
  }

  beforeAll(async () => {
    await shell(writeSettings)
    const commands = join(project.folder, 'node_modules/.bin')
    await mkdir(commands)
    await symlink(join('../session-pgsql', bin['session-pgsql']), join(commands, 'session-pgsql'))
  })

  afterEach(stop)

  test('starts a site that counts visits, also after a restart', async () => {
    await paste(getStarted)
    expect(await start()).toBe(`http://localhost:${port}\n`)
    const visitor = browser()
    expect((await visitor.send('GET', '/')).text).toBe('visit 1')
    expect((await visitor.send('GET', '/')).text).toBe('visit 2')
    await stop()
    await start()
    expect((await visitor.send('GET', '/')).text).toBe('visit 3')
  })

  test('counts each of 20 parallel requests', async () => {
    await paste(getStarted)
    await start()
    const visitor = browser()
    await visitor.send('GET', '/')
    const texts = await Promise.all(
      Array.from({ length: 20 }, async () => (await visitor.clone().send('GET', '/')).text),
    )
    expect(new Set(texts)).toEqual(new Set(Array.from({ length: 20 }, (_, index) => `visit ${index + 2}`)))
  })

  test('starts on PGlite without a server', async () => {
    await paste(getStarted)
    await start({ DATABASE_URL: 'pglite:./data' })
    expect(output).toBe(`http://localhost:${port}\n`)
    expect((await browser().send('GET', '/')).text).toBe('visit 1')
  })

  test.each([
    ['the database is unreachable', async () => ({ PGPORT: String(await freePort()) }), 'ECONNREFUSED'],
    ['there is no secret', async () => ({ SESSION_SECRET: '' }), 'SESSION_SECRET is not set'],
  ])('does not start the site if %s', async (_, variables, message) => {
    await paste(getStarted)
    await start(await variables())
    expect(site?.exitCode).toBe(1)
    expect(output).toContain(message)
  })

  test('does not start the site if the port is in use', async () => {
    await paste(getStarted)
    const other = createServer().listen(port)
    await start()
    other.close()
    expect(site?.exitCode).toBe(1)
    expect(output).toContain('EADDRINUSE')
  })

  test('logs in, lists and ends devices, redeems once, and logs out', async () => {
    await paste(...routes)
    await start()
    const [laptop, phone] = [browser(), browser()]
    for (const device of [laptop, phone]) await device.send('POST', '/login')
    await laptop.send('GET', '/')
    const devices = JSON.parse((await phone.send('GET', '/devices')).text)
    expect(devices).toHaveLength(2)
    const answers = await Promise.all([0, 1].map(() => phone.clone().send('POST', '/redeem')))
    expect(answers.map(({ text }) => text).sort()).toEqual(['{"granted":false}', '{"granted":true}'])
    const { handle } = devices.find(({ isCurrent }: { isCurrent: boolean }) => !isCurrent)
    await phone.send('POST', `/devices/${handle}/end`)
    expect((await laptop.send('GET', '/devices')).text).toBe('not logged in')
    await phone.send('POST', '/logout')
    expect((await phone.send('GET', '/devices')).text).toBe('not logged in')
  })

  test('logs out everywhere, but not for a visitor who is not logged in', async () => {
    await paste(...routes)
    await start()
    const [laptop, phone] = [browser(), browser()]
    for (const device of [laptop, phone]) await device.send('POST', '/login')
    await expectGuards()
    expect(JSON.parse((await phone.send('GET', '/devices')).text)).toHaveLength(2)
    await phone.send('POST', '/logout-everywhere')
    for (const device of [laptop, phone]) {
      expect((await device.send('GET', '/devices')).text).toBe('not logged in')
    }
  })

  test('shows what the commands of curl print', async () => {
    await paste(...routes)
    await start()
    const running = site
    const lines = [/^Log in/, /^Counters/].map((heading) => block(heading, 'sh')).join('\n')
    for (const line of lines.split('\n')) {
      const [, command = line, expected] = /^(.*?) +# (.*)$/.exec(line) ?? []
      const printed = await shell(`${command} --silent --show-error`)
      if (expected !== undefined) expect([command, printed]).toEqual([command, expected])
    }
    site = running
  })

  test.each(['express', 'express4'])('runs the code of docs/express.md with %s', async (express) => {
    const code = [
      expressBlock(/^Express/, 'ts').replace("from 'express'", `from '${express}'`),
      "const user = { id: 'ada' }",
      expressBlock(/^Login/, 'js'),
      expressBlock(/^Devices/, 'js'),
      expressBlock(/^Counters/, 'ts'),
    ]
    await paste(...code)
    expect(await start()).toBe(`http://localhost:${port}\n`)
    const visitor = browser()
    await expectGuards()
    await visitor.send('POST', '/login')
    const devices: { isCurrent: boolean }[] = JSON.parse((await visitor.send('GET', '/devices')).text)
    // Of those that were used in the same second, any may be the first.
    expect(devices.filter(({ isCurrent }) => isCurrent)).toEqual([
      expect.objectContaining({ handle: expect.any(String) }),
    ])
    const statuses = [0, 1].map(async () => (await visitor.clone().send('POST', '/redeem')).status)
    expect((await Promise.all(statuses)).sort()).toEqual([200, 409])
    await visitor.send('POST', '/logout')
    expect((await visitor.send('GET', '/devices')).status).toBe(401)
    expect(site?.exitCode).toBe(null)
  })

  test('is valid TypeScript with the changes that it names', async () => {
    const declarations = block(/^TypeScript/, 'ts')
    const [, guard = ''] = /`(const loggedIn: .*=) …`/.exec(readme) ?? []
    const [, call = ''] = /`(destroyByField\(.*\))`/.exec(readme) ?? []
    const typed = routes
      .join('\n')
      .replace('const loggedIn =', guard)
      .replace(/destroyByField\(.*\)/, call)
    await project.write('tsconfig.json', block(/^TypeScript/, 'json'))
    await write('app.mts', declarations, typed)
    const check = () => project.node([join(locate('typescript'), 'bin/tsc'), '-p', '.'])
    await check()
    // As Node.js 22.18 or later does, tsx removes the types.
    const loader = pathToFileURL(join(locate('tsx'), 'dist/loader.mjs')).href
    await shell(startSite.replace('node ', `exec node --import ${loader} `).replace('app.mjs', 'app.mts'))
    expect(output).toBe(`http://localhost:${port}\n`)
    await write('app.mts', typed)
    await expect(check()).rejects.toThrow("'visits'")
    await rm(join(project.folder, 'app.mts'))
  })

  test('uses SaveHandler without a framework', async () => {
    await project.write('main.mts', block(/^Without a framework/, 'ts'))
    await compileStrict(project, 'main.mts')
    expect(await project.node([join(locate('tsx'), 'dist/cli.mjs'), 'main.mts'], environment)).toBe('')
  })

  test('names several servers', async () => {
    for (const index of [0, 1]) {
      const code = `import { SaveHandler } from 'session-pgsql'
        const sessions = ${block(/^Several servers/, 'js', index)}
        await sessions.close()`
      await project.write('servers.mjs', code)
      expect(await project.node(['servers.mjs'])).toBe('')
    }
  })

  test('runs the commands on the database', async () => {
    const command = block(/^The command/, 'sh', 1)
    expect(command).toMatch(/ status$/)
    for (const name of ['init', 'gc', 'status', 'list']) {
      await shell(command.replace(/status$/, name))
      expect([name, site?.exitCode, output]).toEqual([name, 0, expect.anything()])
    }
  })
})
