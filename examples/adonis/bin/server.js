/** FOLDER: the folder of the database (default: .sessions in the current folder). PORT: default 3000. */
import { createServer } from 'node:http'
import { Ignitor } from '@adonisjs/core'

await new Ignitor(new URL('../', import.meta.url))
  .tap((app) => {
    app.listen('SIGTERM', () => app.terminate())
    app.listen('SIGINT', () => app.terminate())
  })
  .httpServer()
  .start((handler) => {
    const server = createServer(handler)
    server.on('listening', () => {
      console.log(
        `Listening on http://127.0.0.1:${server.address().port}. Press Ctrl+C to stop; the sessions are kept.`,
      )
    })
    return server
  })
