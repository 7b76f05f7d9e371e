/**
 * The process of the demo: it opens the embedded PostgreSQL in a folder, listens, and stops cleanly, so that the
 * sessions survive a restart. It also runs the console, because only one process can use the embedded database.
 *
 * DEMO_FOLDER: the folder of the database (default: .demo in the current folder). PORT, CONSOLE_PORT: default 3000
 * and 8095, or a free port if that is in use.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { startConsole } from 'session-pgsql-server/console'
import { createSite } from './site.js'

const folder = resolve(process.env.DEMO_FOLDER ?? '.demo')
const lock = `${folder}.pid`
lockFolder()
const database = await PGlite.create(folder)
const { app, handler, traffic } = createSite(database)
await handler.open()
const adminConsole = await openConsole(Number(process.env.CONSOLE_PORT ?? 8095))
// Without the token of `adminConsole.url`: every process of this machine can read the page of the site.
app.locals.consoleUrl = `http://127.0.0.1:${adminConsole.port}/`

const server = await listen(Number(process.env.PORT ?? 3000))
const stored = await handler.count()
console.log(`\n  session-pgsql demo: http://localhost:${server.address().port}/\n`)
console.log(`  The console: ${adminConsole.url}`)
console.log('  Open this URL: its token signs you in as an operator.\n')
console.log(`  The sessions are in an embedded PostgreSQL in ${folder}`)
console.log(`  Sessions stored: ${stored}. Press Ctrl+C to stop. After a restart you are still signed in.\n`)

/** Only one process can use the embedded database, and the database does not check that. */
function lockFolder() {
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    process.kill(pid, 0)
    console.error(
      `The demo is already running (process ${pid}). Stop it first, or set DEMO_FOLDER to another folder.`,
    )
    process.exit(1)
  } catch {
    writeFileSync(lock, String(process.pid))
  }
}

async function openConsole(port) {
  const options = { sessions: handler, auditFile: `${folder}.audit.jsonl` }
  try {
    return await startConsole({ ...options, port })
  } catch (error) {
    if (error.code !== 'EADDRINUSE') throw error
    return startConsole({ ...options, port: 0 })
  }
}

function listen(port) {
  return new Promise((resolve, reject) => {
    const listening = app.listen(port, '127.0.0.1')
    listening.once('listening', () => resolve(listening))
    listening.once('error', (error) => {
      if (error.code === 'EADDRINUSE' && port !== 0) resolve(listen(0))
      else reject(error)
    })
  })
}

let isStopping = false
async function stop() {
  if (isStopping) return
  isStopping = true
  traffic.stop()
  server.close()
  server.closeAllConnections()
  await adminConsole.close()
  await handler.close()
  await database.close()
  rmSync(lock, { force: true })
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
