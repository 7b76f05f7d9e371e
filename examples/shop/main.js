/** Prepares the database and serves the shop. PORT: default 3000. */
import { createServer } from 'node:http'
import next from 'next'
import { database } from './lib/database.js'
import { accounts, setUp } from './setup.js'

await setUp()
const app = next({ dev: false, dir: import.meta.dirname })
await app.prepare()
const server = createServer(app.getRequestHandler())
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`\n  The shop: http://127.0.0.1:${server.address().port}\n`)
  for (const { email, password, isAdmin } of accounts) {
    console.log(`  ${email}, password: ${password}${isAdmin ? ' (an administrator)' : ''}`)
  }
  console.log('\n  Press Ctrl+C to stop. Users stay signed in.\n')
})
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close(async () => {
      await ('end' in database() ? database().end() : database().close())
      process.exit()
    })
    // `next start` would wait until the browsers close them.
    server.closeAllConnections()
  })
}
