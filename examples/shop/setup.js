/** Creates the tables in an empty database, and the demo accounts. It can be repeated. */
import { readFile } from 'node:fs/promises'
import { database, query } from './lib/database.js'
import { hashPassword } from './lib/users.js'

const ACCOUNTS = [
  { email: 'ada@example.com', name: 'Ada', password: 'analytical engine', isAdmin: true },
  { email: 'grace@example.com', name: 'Grace', password: 'first compiler', isAdmin: false },
]

const [{ exists }] = await query(`SELECT to_regclass('users') IS NOT NULL AS exists`)
if (!exists) {
  const files = ['users.sql', 'sessions.sql'].map((name) => new URL(`sql/${name}`, import.meta.url))
  const script = (await Promise.all(files.map((file) => readFile(file, 'utf8')))).join('\n')
  // PGlite runs several statements with `exec` only.
  await ('exec' in database() ? database().exec(script) : database().query(script))
}
for (const { email, name, password, isAdmin } of ACCOUNTS) {
  await query(
    'INSERT INTO users (email, name, password, is_admin) VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO NOTHING',
    [email, name, await hashPassword(password), isAdmin],
  )
}
await ('end' in database() ? database().end() : database().close())

console.log('\nDemo accounts:')
for (const { email, password, isAdmin } of ACCOUNTS) {
  console.log(`  ${email}, password: ${password}${isAdmin ? ' (may see who is signed in)' : ''}`)
}
