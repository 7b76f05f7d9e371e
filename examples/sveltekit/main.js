/** PORT: default 3000. DATABASE_URL, SESSION_SECRET: see src/hooks.server.js. */
import { createServer } from 'node:http'

const server = createServer()
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${server.address().port}`
  // SvelteKit takes the site's URL from it, when this module is imported.
  process.env.ORIGIN ??= url
  const { handler } = await import('./build/handler.js')
  server.on('request', handler)
  console.log(`Listening on ${url}. Press Ctrl+C to stop; the sessions are kept.`)
})
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close(() => process.exit())
    server.closeAllConnections()
  })
}
