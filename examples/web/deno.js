/** `deno run -A deno.js`. The environment: see handle.js; PORT: default 3000. */
import { fromEnvironment } from './handle.js'

const { handle, sessions } = fromEnvironment(Deno.env.toObject(), (_, { remoteAddr }) => remoteAddr.hostname)
const port = Number(Deno.env.get('PORT') ?? 3000)
const onListen = (address) =>
  console.log(`Listening on http://127.0.0.1:${address.port}. Press Ctrl+C to stop; the sessions are kept.`)
const server = Deno.serve({ port, hostname: '127.0.0.1', onListen }, handle)

for (const signal of ['SIGINT', 'SIGTERM']) {
  Deno.addSignalListener(signal, async () => {
    await server.shutdown()
    await sessions.close()
    Deno.exit()
  })
}
