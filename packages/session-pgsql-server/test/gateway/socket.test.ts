import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { run } from '../../src/run.ts'
import { DATA, gateways } from './kit.ts'
import { Talk } from './talk.ts'

describeOnEveryKind(
  'a socket of the file system',
  (server) => {
    const { start, key, after } = gateways(server)

    function path(): string {
      const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-socket-'))
      after(async () => rmSync(folder, { recursive: true, force: true }))
      return join(folder, 'gateway.sock')
    }

    function talk(at: string): Talk {
      const client = new Talk(at)
      after(async () => client.end())
      return client
    }

    test('serves clients, alone or besides a port, and is removed at the end', async () => {
      const socket = { path: path(), mode: 0o640 }
      const { gateway, port } = await start({ socket, port: undefined })
      expect(port).toBe(0)
      expect(statSync(socket.path).mode & 0o777).toBe(0o640)
      const client = talk(socket.path)
      const one = key()
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await client.ask('GET', one)).toContain(DATA)
      await gateway.close()
      expect(await client.rest()).toBe('')
      expect(existsSync(socket.path)).toBe(false)

      const both = await start({ socket })
      expect(await talk(socket.path).ask('PING')).toBe('+PONG\r\n')
      expect(await both.talk().ask('PING')).toBe('+PONG\r\n')
    })

    test('requires the password, if there is one', async () => {
      const socket = { path: path(), mode: 0o600 }
      await start({ socket, password: 'sesame' })
      const client = talk(socket.path)
      expect(await client.ask('PING')).toMatch(/^-NOAUTH/)
      expect(await client.ask('AUTH', 'sesame')).toBe('+OK\r\n')
      expect(await client.ask('PING')).toBe('+PONG\r\n')
    })

    test('is replaced if no process serves it, and nothing else is', async () => {
      const stale = path()
      const script = `require('net').createServer().listen(${JSON.stringify(stale)}, () => console.log('up'))`
      const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      child.kill('SIGKILL')
      await once(child, 'exit')
      expect(existsSync(stale)).toBe(true)
      await start({ socket: { path: stale, mode: 0o600 } })
      expect(await talk(stale).ask('PING')).toBe('+PONG\r\n')

      await expect(start({ socket: { path: stale, mode: 0o600 } })).rejects.toThrow('another process listens')
      expect(await talk(stale).ask('PING')).toBe('+PONG\r\n')
      const other = path()
      const serving = createServer().listen(other)
      after(async () => serving.close())
      await once(serving, 'listening')
      await expect(start({ socket: { path: other, mode: 0o600 } })).rejects.toThrow('another process listens')
      const file = path()
      writeFileSync(file, 'mine')
      await expect(start({ socket: { path: file, mode: 0o600 } })).rejects.toThrow('is no socket')
      expect(existsSync(file)).toBe(true)
    })
  },
  ['postgres'],
)

test('the mode of the socket must be octal', async () => {
  const stderr: string[] = []
  const code = await run(['gateway', '--socket', '/tmp/x', '--socket-mode', '888'], {
    environment: {},
    stdout: { write: () => {} },
    stderr: { write: (text) => stderr.push(text) },
    signal: AbortSignal.abort(),
  })
  expect({ code, stderr: stderr.join('') }).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--socket-mode'),
  })
})
