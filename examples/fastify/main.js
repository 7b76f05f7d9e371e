import { PGlite } from '@electric-sql/pglite'
import { createSite } from './site.js'

// PGlite's own first start takes seconds; nobody shall wait for it who asks for a page.
const db = process.env.DATABASE_URL ?? (await PGlite.create(process.env.FOLDER ?? '.sessions'))
const site = await createSite({ db }, undefined, Number(process.env.PORT ?? 3000))
console.log(`Listening on ${site.url}; Ctrl+C ends it, and the sessions stay.`)

async function end() {
  await site.stop()
  if (typeof db !== 'string') await db.close()
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)
