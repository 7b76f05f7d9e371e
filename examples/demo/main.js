/**
 * The demo as a process: opens the embedded PostgreSQL in a folder, listens, and ends in order, so that the
 * sessions are still there at the next start. Beside the site it starts the console, in the same process: the
 * embedded database is for one.
 *
 * DEMO_FOLDER: where the database lies (default: .demo in the current folder). PORT, CONSOLE_PORT: default 3000
 * and 8095, or any free one if that is taken.
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
const operators = await openConsole(Number(process.env.CONSOLE_PORT ?? 8095))
app.locals.consoleUrl = `http://localhost:${operators.port}/`

const server = await listen(Number(process.env.PORT ?? 3000))
const kept = await handler.count()
console.log(`\n  session-pgsql demo: http://localhost:${server.address().port}/\n`)
console.log(`  The console beside it: ${app.locals.consoleUrl}\n`)
console.log(`  The sessions lie in an embedded PostgreSQL in ${folder}`)
console.log(
  `  ${kept === 0 ? 'None yet.' : `${kept} from before ${kept === 1 ? 'is' : 'are'} still there.`} Ctrl+C ends it; start it again, and you are still signed in.\n`,
)

/** The embedded database is for one process at a time, and does not look for another. */
function lockFolder() {
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    process.kill(pid, 0)
    console.error(`The demo is running already (process ${pid}). End it first, or set DEMO_FOLDER.`)
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
  return new Promise((done, failed) => {
    const listening = app.listen(port, '127.0.0.1')
    listening.once('listening', () => done(listening))
    listening.once('error', (error) => {
      if (error.code === 'EADDRINUSE' && port !== 0) done(listen(0))
      else failed(error)
    })
  })
}

let ending = false
async function end() {
  if (ending) return
  ending = true
  traffic.stop()
  server.close()
  server.closeAllConnections()
  await operators.close()
  await handler.close()
  await database.close()
  rmSync(lock, { force: true })
}
process.on('SIGINT', end)
process.on('SIGTERM', end)
