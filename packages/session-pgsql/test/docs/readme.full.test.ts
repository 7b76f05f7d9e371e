import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { createProject, locate, type Project, pack } from '../packaging/consumer.ts'
import { freePort } from '../support/connect.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { until } from '../support/wait.ts'
import { blockFinder } from './blocks.ts'

/** What a newcomer does: the blocks of the README in an empty folder, as pasted, with the packed package. */

const block = blockFinder(join(import.meta.dirname, '../../../../README.md'))

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
  project = await createProject(packed.tarball, {}, others)
  for (const statement of block(/Get started/, 'sql').split(';')) {
    if (statement.trim() !== '') await server.query(statement)
  }
})

afterAll(async () => {
  await project?.remove()
  await packed?.remove()
  await server?.remove()
})

describe('the README', () => {
  let site: ChildProcess | undefined
  let output = ''
  let port: number

  /** Writes app.mjs as pasted, but for the port, and starts it with the commands of the README. */
  async function start(code: string, variables: Record<string, string> = {}): Promise<void> {
    port = await freePort()
    await project.write('app.mjs', code.replaceAll('3000', String(port)))
    output = ''
    site = spawn(
      'bash',
      ['-c', `set -e\n${block(/Get started/, 'sh', 1).replace(/^node /m, 'exec node ')}`],
      {
        cwd: project.folder,
        env: { ...process.env, ...environment, ...variables },
      },
    )
    for (const stream of [site.stdout, site.stderr]) stream?.on('data', (chunk) => (output += chunk))
    await until(
      () => output.includes(`http://localhost:${port}`) || site?.exitCode !== null,
      'the site',
      60_000,
    )
  }

  const stop = async (): Promise<void> => {
    site?.kill()
    await until(() => site?.exitCode !== null || site?.signalCode !== null, 'the site to end', 20_000)
  }

  test('starts a site that counts visits', async () => {
    await start(block(/Get started/, 'js'))
    expect(output).toBe(`http://localhost:${port}\n`)
    const browser = new Browser(`http://localhost:${port}`)
    expect((await browser.send('GET', '/')).text).toBe('visit 1')
    expect((await browser.send('GET', '/')).text).toBe('visit 2')
    await stop()
  })

  test('does not start the site if the address is wrong', async () => {
    await start(block(/Get started/, 'js'), { PGPORT: String(await freePort()) })
    expect(site?.exitCode).toBe(1)
    expect(output).toContain('ECONNREFUSED')
  })

  test('logs in, lists devices, redeems once, and logs out everywhere', async () => {
    await start(`${block(/Get started/, 'js')}
${block(/^Log in/, 'js')}
app.post('/redeem', async (req, res) => {
${block(/^Counters/, 'js')}
res.json({ outcome, granted })
})`)
    const [laptop, phone] = [0, 1].map(() => new Browser(`http://localhost:${port}`)) as [Browser, Browser]
    for (const browser of [laptop, phone]) await browser.send('POST', '/login')
    await laptop.send('GET', '/')
    expect(JSON.parse((await phone.send('GET', '/devices')).text)).toHaveLength(2)
    expect(JSON.parse((await phone.send('POST', '/redeem')).text)).toEqual({
      outcome: 'updated',
      granted: true,
    })
    expect(JSON.parse((await phone.send('POST', '/redeem')).text)).toMatchObject({ granted: false })
    expect((await laptop.send('GET', '/')).text).toBe('visit 2')
    await phone.send('POST', '/logout-everywhere')
    expect((await laptop.send('GET', '/')).text).toBe('visit 1')
    await stop()
  })

  test('uses SaveHandler without a framework', async () => {
    await project.write('main.mts', block(/^Without a framework/, 'ts'))
    await project.write(
      'tsconfig.json',
      JSON.stringify({
        compilerOptions: {
          module: 'nodenext',
          target: 'es2022',
          strict: true,
          noEmit: true,
          types: ['node'],
          skipLibCheck: true,
        },
        files: ['main.mts'],
      }),
    )
    await project.node([join(locate('typescript'), 'bin/tsc'), '-p', '.'])
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
    const db = /DATABASE_URL=(\S+)/.exec(block(/Get started/, 'sh', 1))?.[1] as string
    const command = join('node_modules/session-pgsql/bin/session-pgsql.js')
    for (const name of ['init', 'gc', 'status', 'list']) {
      await project.node([command, name], { ...environment, DATABASE_URL: db })
    }
  })
})
