import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { freePort } from '../../../session-pgsql/test/support/connect.ts'
import { eventually } from '../../../session-pgsql/test/support/wait.ts'
import { describeWithPhp } from './kit/place.ts'
import { startProgram } from './kit/program.ts'

const EXAMPLE = fileURLToPath(new URL('../../../../examples/php-and-node', import.meta.url))
const missing = /^redis$/m.test(spawnSync('php', ['-m'], { encoding: 'utf8' }).stdout ?? '')
  ? undefined
  : 'no php with phpredis on this machine: the example was not run'

describeWithPhp('the example php-and-node', (place) => {
  test('shares one login between PHP and Node, from either to the logout in the other', async (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-example-'))
    place.after(() => rm(folder, { recursive: true, force: true }))
    const [php, node, gateway] = [await freePort(), await freePort(), await freePort()]
    const program = await startProgram(process.execPath, ['main.js'], {
      cwd: EXAMPLE,
      env: {
        DATABASE_URL: '',
        FOLDER: join(folder, 'sessions'),
        PHP_PORT: String(php),
        NODE_PORT: String(node),
        GATEWAY_PORT: String(gateway),
      },
    })
    place.after(() => program.stop())
    const [phpUrl, nodeUrl] = [`http://localhost:${php}/`, `http://localhost:${node}/`]
    await eventually(async () => {
      if (!program.running()) throw new Error(program.output())
      await fetch(phpUrl)
      await fetch(nodeUrl, { redirect: 'manual' })
    }, 60_000)

    let cookie = ''
    const ask = async (url: string, form?: Record<string, string>): Promise<Response> => {
      const response = await fetch(url, {
        redirect: 'manual',
        headers: cookie === '' ? {} : { cookie },
        ...(form === undefined ? {} : { method: 'POST', body: new URLSearchParams(form) }),
      })
      const [, given] = /^(PHPSESSID=[^;]*)/.exec(response.headers.getSetCookie()[0] ?? '') ?? []
      if (given !== undefined) cookie = given
      return response
    }
    const page = async (url: string): Promise<string> => (await ask(url)).text()

    // Node redirects users without a login to PHP, and sets no cookie.
    const anonymous = await ask(nodeUrl)
    expect(anonymous.headers.get('location')).toBe(phpUrl)
    expect(anonymous.headers.getSetCookie()).toEqual([])

    await ask(phpUrl, { user: 'Zoë' })
    expect(cookie).toMatch(/^PHPSESSID=[A-Za-z0-9,-]{20,}$/)
    const signedIn = cookie
    expect(await page(phpUrl)).toContain('Signed in as <strong>Zoë</strong>')
    expect(await page(nodeUrl)).toContain(
      'PHP says that you are <strong>Zoë</strong>. Visit <strong>1</strong>',
    )
    expect(await page(nodeUrl)).toContain('Visit <strong>2</strong>')
    const shown = await page(phpUrl)
    expect(shown).toContain('counted <strong>2</strong> visits')
    expect(shown).toContain('book, pen')
    // The cookie is still PHP's.
    expect(cookie).toBe(signedIn)

    // Neither adopts an id that it did not create.
    cookie = 'PHPSESSID=chosen-by-somebody-else'
    expect((await ask(nodeUrl)).headers.get('location')).toBe(phpUrl)
    await ask(phpUrl)
    expect(cookie).not.toContain('chosen')

    cookie = signedIn
    await ask(`${nodeUrl}sign-out`, {})
    expect(await page(phpUrl)).toContain('Sign in')
    cookie = signedIn
    expect(await page(phpUrl)).toContain('Sign in')
    expect(program.running()).toBe(true)
    await program.stop()
    expect(program.output()).not.toContain('Error')
  })
})
