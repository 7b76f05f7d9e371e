/** FOLDER: the folder of the database (default: .demo in the current folder). PORT: default 3000. */
import { createSite } from './site.js'

const folder = process.env.FOLDER ?? '.demo'
const site = await createSite({ db: `pglite:${folder}` }, undefined, Number(process.env.PORT ?? 3000))
await site.handler.open()
console.log(`${site.url} stores its sessions in an embedded PostgreSQL in ${folder}. Press Ctrl+C to stop.`)
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => site.stop())
