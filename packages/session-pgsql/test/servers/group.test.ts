import { afterEach, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { freePort } from '../support/connect.ts'
import { startProxy } from '../support/proxy.ts'
import { describeOnEveryServer } from '../support/servers.ts'
import { eventually } from '../support/wait.ts'

/** One entry of `db` with several hosts, which are ways to one server here. Replication is in group.full.test.ts. */
describeOnEveryServer(
  'a group of hosts',
  (server) => {
    const closing: (() => Promise<unknown>)[] = []
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close()
    })

    async function begin(attributes: string) {
      const { hostname, port, pathname, username } = new URL((await server.freshDatabase()).db as string)
      const proxy = await startProxy({ host: hostname, port: Number(port) })
      const [host, ports] = [
        [hostname, proxy.host, hostname],
        [await freePort(), proxy.port, port],
      ]
      const sessions = new SaveHandler({
        db: `host=${host} port=${ports} dbname=${pathname.slice(1)} user=${username} ${attributes}`,
        gcInterval: 0,
      })
      closing.push(
        () => proxy.stop(),
        () => sessions.close(),
      )
      return { sessions, proxy, direct: `${hostname}:${port}` }
    }

    test('the first host that answers is used, and the next one when it is lost', async () => {
      const { sessions, proxy, direct } = await begin('target_session_attrs=read-write')
      await sessions.write('id', { n: 1 })
      const address = `${proxy.host}:${proxy.port}`
      expect(sessions.status().servers[0]).toMatchObject({ address, role: 'primary' })
      await proxy.refuse()
      proxy.drop()
      await eventually(async () => expect((await sessions.read('id'))?.data).toEqual({ n: 1 }))
      expect(sessions.status().servers[0]).toMatchObject({ address: direct, role: 'primary' })
    })

    test('if no host fits, the error says why for each', async () => {
      const { sessions, proxy, direct } = await begin('target_session_attrs=standby')
      const message = await sessions.read('id').catch((error) => error.message)
      for (const address of [`${proxy.host}:${proxy.port}`, direct]) expect(message).toContain(address)
      expect(message).toContain('primary')
    })
  },
  ['postgres'],
)
