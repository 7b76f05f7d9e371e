import { createSite } from './site.js'

const site = await createSite(
  { db: process.env.DATABASE_URL ?? 'pglite:./.sessions' },
  undefined,
  Number(process.env.PORT ?? 3000),
)
console.log(`Listening on ${site.url}; Ctrl+C ends it, and the sessions stay.`)
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => site.stop())
