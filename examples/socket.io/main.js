import { PGlite } from '@electric-sql/pglite'
import { createSite } from './site.js'

// The first start of PGlite takes seconds: start it before the site accepts requests.
const db = process.env.DATABASE_URL ?? (await PGlite.create(process.env.FOLDER ?? '.sessions'))
const site = await createSite({ db }, Number(process.env.PORT ?? 3000))
console.log(`Listening on ${site.url}. Press Ctrl+C to stop; the sessions are kept.`)

async function end() {
  await site.stop()
  if (typeof db !== 'string') await db.close()
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)
