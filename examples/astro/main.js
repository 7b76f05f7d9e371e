/** FOLDER: the folder of the database (default: .sessions in the current folder). PORT: default 3000. */
import { createServer } from 'node:http'
import { handler } from './dist/server/entry.mjs'

const server = createServer(handler)
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
