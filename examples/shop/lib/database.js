import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'

/**
 * Returns the database of this process: the one that DATABASE_URL names, or an embedded PostgreSQL in the folder FOLDER
 * (default: .sessions in the current folder).
 *
 * It is opened at the first call, because `next build` loads this file, too. It is on `globalThis`, because main.js, the
 * pages and proxy.js have an instance of this file each, and only one PGlite can use a folder.
 */
export function database() {
  globalThis.shopDatabase ??= connect()
  return globalThis.shopDatabase
}

/** Returns the rows of a statement. */
export async function query(text, values) {
  const { rows } = await database().query(text, values)
  return rows
}

function connect() {
  const { DATABASE_URL: connectionString, FOLDER: folder = '.sessions' } = process.env
  return connectionString === undefined ? new PGlite(folder) : new pg.Pool({ connectionString })
}
