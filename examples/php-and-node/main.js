/**
 * Starts both halves of the site and their connection: the sessions in an embedded PostgreSQL (or that of
 * DATABASE_URL), the gateway for PHP, PHP's own web server, and Node's site.
 *
 * FOLDER: the folder of the embedded database (default: .sessions in the current folder). PHP_PORT, NODE_PORT,
 * GATEWAY_PORT: 8000, 3000, 6380.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { SaveHandler } from 'session-pgsql'
import { startGateway } from 'session-pgsql-server/gateway'
import { createSite } from './site.js'

const {
  DATABASE_URL,
  FOLDER = '.sessions',
  PHP_PORT = 8000,
  NODE_PORT = 3000,
  GATEWAY_PORT = 6380,
} = process.env

// Both halves use one save handler. In two processes each has its own, and they share only the table.
const sessions = new SaveHandler({
  db: DATABASE_URL || `pglite:${FOLDER}`,
  codec: 'php',
  idPattern: 'php',
  shortCircuit: true,
})
await sessions.open()
const gateway = await startGateway({ sessions, port: Number(GATEWAY_PORT) })

const [phpUrl, nodeUrl] = [`http://localhost:${PHP_PORT}/`, `http://localhost:${NODE_PORT}/`]
const settings = {
  // The two lines that PHP needs.
  'session.save_handler': 'redis',
  'session.save_path': `"tcp://127.0.0.1:${gateway.port}?prefix=PHPSESSID:"`,
  // Recommended for every site.
  'session.use_strict_mode': '1',
  'session.cookie_httponly': '1',
  'session.cookie_samesite': 'Lax',
}
const php = spawn(
  'php',
  [
    ...Object.entries(settings).flatMap(([name, value]) => ['-d', `${name}=${value}`]),
    ...['-S', `localhost:${PHP_PORT}`, '-t', fileURLToPath(new URL('php', import.meta.url)), '-q'],
  ],
  { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, NODE_URL: nodeUrl } },
)
php.once('error', () =>
  end('php was not found: this example needs it, with phpredis (Debian: php-cli php-redis)'),
)
php.once('exit', (code) => end(code === null ? undefined : `php has exited with ${code}`))

const node = createSite(sessions, phpUrl).listen(Number(NODE_PORT), 'localhost')
await once(node, 'listening')
console.log(`PHP: ${phpUrl} (sign in here)\nNode: ${nodeUrl}\nPress Ctrl+C to stop both.`)

let ending = false
async function end(problem) {
  if (ending) return
  ending = true
  if (problem !== undefined) {
    console.error(problem)
    process.exitCode = 1
  }
  php.kill()
  node?.close()
  node?.closeAllConnections()
  await gateway.close()
  await sessions.close()
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => end())
