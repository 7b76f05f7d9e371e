/** FOLDER: the folder of the database (default: .sessions in the current folder). PORT: default 3000. */
import { createServer } from 'node:http'
import next from 'next'

const app = next({ dev: false, dir: import.meta.dirname })
await app.prepare()
const server = createServer(app.getRequestHandler())
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(
    `Listening on http://127.0.0.1:${server.address().port}. Press Ctrl+C to stop; the sessions are kept.`,
  )
})
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close(() => process.exit())
    server.closeAllConnections()
  })
}
