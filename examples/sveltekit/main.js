/** PORT: default 3000. DATABASE_URL, SESSION_SECRET: see src/hooks.server.js. */
import { createServer } from 'node:http'

// SvelteKit takes every request for one that came over https, unless this header says otherwise.
process.env.PROTOCOL_HEADER ??= 'x-forwarded-proto'
const { handler } = await import('./build/handler.js')

const server = createServer((request, response) => {
  request.headers['x-forwarded-proto'] ??= 'http'
  handler(request, response)
})
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
