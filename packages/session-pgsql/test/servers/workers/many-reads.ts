import { SaveHandler } from '../../../src/index.ts'

/** Reads repeatedly. @returns the megabytes by which the heap has grown */
export default async function manyReads({ db }: { db: string[] }): Promise<number> {
  const sessions = new SaveHandler({ db, gcInterval: 0 })
  const ids = Array.from({ length: 50 }, (_, n) => `read-${n}`)
  for (const id of ids) await sessions.write(id, { text: 'x'.repeat(5000) })
  const round = () => Promise.all(ids.map((id) => sessions.read(id)))
  for (let n = 0; n < 20; n++) await round()
  const before = heap()
  for (let n = 0; n < 200; n++) await round()
  const grown = heap() - before
  await sessions.close()
  return grown
}

function heap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1e6
}
