import { readFile } from 'node:fs/promises'
import { database, query } from './lib/database.js'
import { hashPassword } from './lib/users.js'

/** The demo accounts. */
export const accounts = [
  { email: 'ada@example.com', name: 'Ada', password: 'analytical engine', isAdmin: true },
  { email: 'grace@example.com', name: 'Grace', password: 'first compiler', isAdmin: false },
]

/** Creates the tables in an empty database, and the demo accounts that do not exist. */
export async function setUp() {
  const [{ exists }] = await query(`SELECT to_regclass('users') IS NOT NULL AS exists`)
  if (!exists) {
    const files = ['users.sql', 'sessions.sql'].map((name) => new URL(`sql/${name}`, import.meta.url))
    const script = (await Promise.all(files.map((file) => readFile(file, 'utf8')))).join('\n')
    // PGlite runs several statements with `exec` only.
    await ('exec' in database() ? database().exec(script) : database().query(script))
  }
  for (const { email, name, password, isAdmin } of accounts) {
    await query(
      'INSERT INTO users (email, name, password, is_admin) VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO NOTHING',
      [email, name, await hashPassword(password), isAdmin],
    )
  }
}
