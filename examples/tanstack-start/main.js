/** FOLDER: the folder of the database (default: .sessions in the current folder). PORT: default 3000. */
import { serve } from 'srvx'
import site from './dist/server/server.js'

const server = serve({
  fetch: (request) => site.fetch(request),
  port: process.env.PORT ?? 3000,
  hostname: '127.0.0.1',
  silent: true,
  gracefulShutdown: false,
})
await server.ready()
console.log(`Listening on ${server.url} Press Ctrl+C to stop; the sessions are kept.`)
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.close(true)
    process.exit()
  })
}
