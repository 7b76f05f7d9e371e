import { execFile, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test, vi } from 'vitest'

const run = promisify(execFile)
const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url))

/** Installs the packed packages outside of the repository, with their dependencies, as npm would. */
test('runs as packed by npm, and contains the files that its README mentions', async (ctx) => {
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-server-'))
  ctx.onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const modules = join(folder, 'node_modules')
  for (const name of ['session-pgsql', 'session-pgsql-server']) {
    const { stdout } = await run(
      'npm',
      ['pack', '--json', '--foreground-scripts=false', '--pack-destination', folder],
      {
        cwd: join(REPOSITORY, 'packages', name),
      },
    )
    const [packed] = Object.values(JSON.parse(stdout) as Record<string, { filename: string }>)
    await mkdir(join(modules, name), { recursive: true })
    await run('tar', [
      '-xzf',
      join(folder, packed?.filename ?? ''),
      '-C',
      join(modules, name),
      '--strip-components=1',
    ])
  }
  // Without OpenTelemetry, which is optional.
  await symlink(join(REPOSITORY, 'node_modules/pg'), join(modules, 'pg'))
  const installed = join(modules, 'session-pgsql-server')
  expect((await readdir(installed)).sort()).toEqual([
    'LICENSE',
    'README.md',
    'bin',
    'dist',
    'package.json',
    'php',
    'src',
  ])
  expect((await readdir(join(installed, 'php'))).sort()).toEqual(['session_pgsql.php'])
  for (const name of ['session-pgsql', 'session-pgsql-server']) {
    const readme = await readFile(join(modules, name, 'README.md'), 'utf8')
    const links = [...readme.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
    expect(links.filter((link) => !/^(https?:|#)/.test(link))).toEqual([])
    expect(links).toContainEqual(expect.stringMatching(/\/blob\/v\d+\.\d+\.\d+\/docs\/php\.md$/))
  }

  const main = join(installed, 'bin/session-pgsql-server.js')
  // npx runs the file itself, by its first line.
  const { stdout: version } = await run(main, ['--version'])
  expect(version).toMatch(/^\d+\.\d+\.\d+/)
  const { stdout: help } = await run(main, ['gateway', '--help'])
  expect(help).toContain('session.save_path')
  const source = `import { startGateway } from 'session-pgsql-server/gateway'
    import { SaveHandler } from 'session-pgsql'
    const sessions = new SaveHandler({ db: 'host=localhost', codec: 'php', idPattern: 'php' })
    const gateway = await startGateway({ sessions, port: 0 })
    await gateway.close()
    await sessions.close()
    console.log('ended')`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', source], { cwd: folder })
  expect(stdout).toBe('ended\n')

  // What needs OpenTelemetry says what to install.
  const install =
    /npm install @opentelemetry\/api @opentelemetry\/sdk-metrics @opentelemetry\/exporter-prometheus/
  const consoleFlags = [
    '--db',
    'host=127.0.0.1 port=1',
    '--port',
    '0',
    '--metrics',
    '--audit-file',
    join(folder, 'audit'),
  ]
  await expect(run(main, ['console', ...consoleFlags])).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(install),
  })
  const gatewayFlags = ['--db', 'host=127.0.0.1 port=1', '--port', '0', '--health-port', '0']
  const gateway = spawn(main, ['gateway', ...gatewayFlags], { stdio: ['ignore', 'pipe', 'pipe'] })
  ctx.onTestFinished(() => void gateway.kill('SIGKILL'))
  let output = ''
  for (const stream of [gateway.stdout, gateway.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk
    })
  }
  await vi.waitUntil(() => install.test(output), 60_000)
  const health = /health: (http:\S+)\/health\n/.exec(output)?.[1]
  expect((await fetch(`${health}/health`)).status).toBe(503)
  const metrics = await fetch(`${health}/metrics`)
  expect([metrics.status, await metrics.text()]).toEqual([503, expect.stringMatching(install)])
})
