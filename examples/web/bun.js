/** `bun bun.js`. The environment: see handle.js; PORT: default 3000. */
import { fromEnvironment } from './handle.js'

const { handle, sessions } = fromEnvironment(
  process.env,
  (request, server) => server.requestIP(request)?.address,
)
const server = Bun.serve({ port: Number(process.env.PORT ?? 3000), hostname: '127.0.0.1', fetch: handle })
console.log(`Listening on http://127.0.0.1:${server.port}. Press Ctrl+C to stop; the sessions are kept.`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.stop(true)
    await sessions.close()
  })
}
